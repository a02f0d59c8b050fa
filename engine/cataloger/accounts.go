package cataloger

import (
	"io"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isPasswd(p string) bool  { return p == "etc/passwd" }
func isShadow(p string) bool  { return p == "etc/shadow" }
func isGroup(p string) bool   { return p == "etc/group" }
func isSudoers(p string) bool { return p == "etc/sudoers" || isIn(p, "etc/sudoers.d") }

// maxAccounts bounds the lines of one file of accounts.
const maxAccounts = 10_000

// fields calls line with the parts of each line of a file of accounts, which are
// separated by colons: passwd(5), shadow(5), group(5).
func fields(r io.Reader, out *Result, least int, line func(parts []string)) {
	count := 0
	for in := newLines(r); in.next(); {
		if in.text == "" || in.text[0] == '#' || in.text[0] == '+' || in.text[0] == '-' { // NIS
			continue
		}
		parts := strings.Split(inventory.Printable(in.text[:min(len(in.text), maxField)]), ":")
		if count++; len(parts) < least || count > maxAccounts {
			out.bad("a line has too few parts, or there are too many lines")
			continue
		}
		line(parts)
	}
	out.close("account-records")
}

func readPasswd(r io.Reader, out *Result) {
	fields(r, out, 7, func(f []string) {
		out.Accounts = append(out.Accounts, inventory.Account{
			Path: out.Path, Name: f[0], Password: passwordState(f[1]), UID: f[2], GID: f[3], Gecos: f[4], Home: f[5], Shell: f[6],
		})
	})
}

// readShadow keeps the state of each password, never its hash.
func readShadow(r io.Reader, out *Result) {
	fields(r, out, 2, func(f []string) {
		out.Accounts = append(out.Accounts, inventory.Account{Path: out.Path, Name: f[0], Password: passwordState(f[1])})
	})
}

// passwordState says what a password field is without saying what is in it.
func passwordState(field string) string {
	switch {
	case field == "":
		return "empty"
	case field == "x":
		return "shadow"
	case field[0] == '!' || field[0] == '*':
		return "locked"
	}
	return "set"
}

func readGroup(r io.Reader, out *Result) {
	fields(r, out, 4, func(f []string) {
		g := inventory.Group{Path: out.Path, Name: f[0], GID: f[2]}
		if f[3] != "" {
			g.Members = strings.Split(f[3], ",")
		}
		out.Groups = append(out.Groups, g)
	})
}

// readSudoers keeps the lines that ask for no password: sudoers(5).
func readSudoers(r io.Reader, out *Result) {
	for in := newLines(r); in.next(); {
		if in.cut {
			out.bad("a line is too long, and only its beginning was read")
		}
		line := strings.TrimSpace(in.text)
		if line == "" || line[0] == '#' || !strings.Contains(line, "NOPASSWD") && !strings.Contains(line, "!authenticate") {
			continue
		}
		if len(out.Sudoers) == maxAccounts {
			out.bad("there are too many lines that ask for no password")
			continue
		}
		out.Sudoers = append(out.Sudoers, inventory.Sudoer{Path: out.Path, Line: inventory.Printable(line[:min(len(line), maxField)])})
	}
	out.close("account-records")
}
