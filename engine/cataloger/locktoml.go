package cataloger

import (
	"bytes"
	"errors"
	"strings"
)

var (
	errTomlOpen = errors.New("an array or a text does not end") // the rest of the file would be part of it
	errNotToml  = errors.New("a line is neither a table nor a value of TOML")
)

// isLockField names what is kept of an entry. No more is: a map that was large
// once stays slow to clear.
var isLockField = map[string]bool{"name": true, "version": true, "source": true, "uuid": true}

// tomlTable is one table: the names in its header and its own simple values.
// Values other than strings are as written.
type tomlTable struct {
	header string // "[package]" of "[[package]]"
	fields map[string]string
}

// tomlTables reads the tables of a lock file line by line, in the form in which
// tools write them: no whole TOML, whose values may be nested without end.
// https://toml.io/en/v1.0.0
func tomlTables(raw []byte, told func(tomlTable)) error {
	table := tomlTable{fields: map[string]string{}}
	until := "" // what ends the value of several lines that we are in
	var err error
	for in := newLines(bytes.NewReader(raw)); in.next(); {
		line := strings.TrimSpace(in.text)
		switch {
		case until == "]" && strings.HasPrefix(line, "]"), until != "" && until != "]" && strings.Contains(line, until):
			until = ""
		case until != "" || line == "" || line[0] == '#':
		case line[0] == '[':
			told(table)
			clear(table.fields)
			table.header = strings.TrimSuffix(strings.TrimPrefix(line, "["), "]")
		case !strings.Contains(line, "="):
			err = errNotToml
		default:
			until = table.field(line)
		}
	}
	told(table)
	if until != "" {
		return errTomlOpen
	}
	return err
}

// field takes a line "key = value". If the value goes on in the lines below, it
// tells what ends it.
func (t *tomlTable) field(line string) (until string) {
	key, value, _ := strings.Cut(line, "=")
	key, value = strings.Trim(strings.TrimSpace(key), `"'`), strings.TrimSpace(value)
	for _, quotes := range []string{`"""`, "'''"} {
		if strings.HasPrefix(value, quotes) && !strings.Contains(value[3:], quotes) {
			return quotes
		}
	}
	if strings.HasPrefix(value, "[") && !strings.Contains(value, "]") {
		return "]"
	}
	if len(value) > 1 && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			value = value[1 : end+1]
		}
	}
	if isLockField[key] {
		t.fields[key] = value
	}
	return ""
}

// readTomlLock reads the Python lock files: Poetry's, uv's, PDM's, pylock.toml.
func readTomlLock(raw []byte, l *lock) error {
	return tomlTables(raw, func(t tomlTable) {
		if t.header != "[package]" && t.header != "[packages]" {
			return
		}
		source := t.fields["source"] // uv's, for what comes from a directory
		if strings.Contains(source, "virtual =") || strings.Contains(source, "editable =") || strings.Contains(source, "directory =") {
			return
		}
		if t.fields["version"] == "" && t.fields["name"] != "" {
			return // of a repository or directory
		}
		l.add(t.fields["name"], t.fields["version"])
	})
}

// readCargoLock leaves out the crates without a source: those of the project.
// https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html
func readCargoLock(raw []byte, l *lock) error {
	return tomlTables(raw, func(t tomlTable) {
		if t.header == "[package]" && t.fields["source"] != "" {
			l.add(t.fields["name"], t.fields["version"])
		}
	})
}

// readJuliaManifest: a table is named by its package, "deps.JSON" since version
// 2. What comes with Julia has no version.
// https://pkgdocs.julialang.org/v1/toml-files/
func readJuliaManifest(raw []byte, l *lock) error {
	return tomlTables(raw, func(t tomlTable) {
		name, ok := strings.CutPrefix(t.header, "[")
		name = strings.TrimSuffix(name, "]")
		name = strings.TrimPrefix(name, "deps.")
		if ok && t.fields["uuid"] != "" && t.fields["version"] != "" {
			l.add(name, t.fields["version"])
		}
	})
}
