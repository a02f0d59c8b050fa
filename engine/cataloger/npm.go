package cataloger

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/pratique/pratique/engine/inventory"
)

func isPackageJSON(p string) bool { return isAt(p, "package.json") }

// readPackageJSON lists the package that a package.json describes. One without
// a name or version only sets options for its directory. Keys are compared as
// Node.js does, to the letter, and the last of several counts; that is why the
// document is read key by key.
func readPackageJSON(r io.Reader, out *Result) {
	raw, _ := io.ReadAll(r)
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	var name, version, license string
	fail := func(err error) {
		out.gap(inventory.Partial, "npm-manifest", "package.json could not be read: "+err.Error())
	}
	open, err := dec.Token()
	if err == io.EOF {
		return // an empty file says nothing, to npm too
	}
	if err != nil {
		fail(err)
		return
	}
	for open == json.Delim('{') && dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			fail(err)
			break
		}
		switch key {
		case "name":
			name = text(value)
		case "version":
			version = text(value)
		case "license":
			license = text(value)
		}
	}
	if name != "" && version != "" {
		out.add(inventory.Package{Type: inventory.TypeNpm, Name: name, Version: version, License: license})
	}
}

// text gives a JSON string's value, "" for any other kind.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
