package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fencedBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	word        = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)
	variable    = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)
)

// TestDocumentedCommands: every command line that a document shows names
// commands and flags that are there.
func TestDocumentedCommands(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".md" {
			return err
		}
		raw, err := os.ReadFile(name)
		for _, m := range fencedBlock.FindAllSubmatchIndex(raw, -1) {
			for i, line := range strings.Split(string(raw[m[2]:m[3]]), "\n") {
				args, ok := commandLine(line)
				if !ok {
					continue
				}
				found++
				if err := checkCommand(args); err != nil {
					t.Errorf("%s:%d: %s: %v", filepath.Base(name), 1+strings.Count(string(raw[:m[2]]), "\n")+i, line, err)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("%d command lines found, there are more", found)
	}
}

// commandLine gives the arguments of a line that runs pratique, up to a pipe or
// redirection; variables and a prompt may stand before it.
func commandLine(line string) (args []string, ok bool) {
	words := word.FindAllString(strings.TrimPrefix(strings.TrimSpace(line), "$ "), -1)
	for len(words) > 0 && variable.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || (words[0] != "pratique" && words[0] != "bin/pratique") {
		return nil, false
	}
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "|") || strings.HasPrefix(w, ">") || strings.HasPrefix(w, "#") || w == "&&" || w == "&" {
			break
		}
		args = append(args, strings.Trim(w, `'"`))
	}
	return args, true
}

// checkCommand parses a command line as the program would, and runs nothing.
func checkCommand(args []string) error {
	cmd, rest, err := newRootCommand().Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	switch err := cmd.ParseFlags(rest); {
	case err != nil:
		return err
	case cmd.Flags().Changed("help"):
		return nil
	case !cmd.Runnable():
		return errors.New("names no command")
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestCheckCommand: what the test of the documents goes by does find mistakes.
func TestCheckCommand(t *testing.T) {
	for line, good := range map[string]bool{
		"$ pratique serve --set 'gate.rules=[{a: b}]'":            true,
		"PRATIQUE_X='[a, b]' pratique config show | head":         true,
		"pratique policy get default > bundle.json":               true,
		"pratique scan --help":                                    true,
		"pratique check team/app:1.0 --format json # the verdict": true,
		"pratique serve --mode passive":                           false,
		"pratique policies list":                                  false,
		"pratique policy remove default":                          false,
		"pratique policy":                                         false,
		"pratique scan":                                           false,
	} {
		args, ok := commandLine(line)
		if !ok {
			t.Errorf("%s: not seen as a command line", line)
		} else if err := checkCommand(args); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, ok := commandLine("pratique: refused"); ok {
		t.Error("a message is taken for a command line")
	}
}
