package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// exitError ends the process with a code. Its text goes to stderr; without Err
// there is none, because the result on stdout says it all.
type exitError struct {
	Code int
	Err  error
}

// Error is empty when there is nothing to add.
func (e *exitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap gives the error behind the code.
func (e *exitError) Unwrap() error { return e.Err }

// Colours of words that stand alone in a cell, by SGR code.
var colours = map[string]string{
	"CRITICAL": "1;31", "HIGH": "31", "STOP": "31", "REFUSED": "1;31", "failed": "31",
	"MEDIUM": "33", "WARN": "33", "blind": "33", "not checked": "33", "ALLOWED": "32", "active": "32", "ok": "32",
}

// table writes aligned columns, the header first. Words with a meaning are
// coloured on a terminal; control characters in cells, which may come from
// foreign images, never reach it.
func table(w io.Writer, header []string, rows [][]string) error {
	var all [][]string
	if len(header) > 0 {
		all = append(all, header)
	}
	widths := map[int]int{}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		all = append(all, cells)
	}
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	colour := isTerminal(w)
	var b strings.Builder
	for _, row := range all {
		for i, cell := range row {
			b.WriteString(paint(cell, colour))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func paint(word string, colour bool) string {
	code := colours[word]
	if !colour || code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// printable makes foreign text fit for one line of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, s)
}

// printJSON writes one document and nothing else.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// checkFormat refuses formats that a command does not have, before it does
// anything.
func checkFormat(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("--format %s: want table or json", format)
	}
	return nil
}
