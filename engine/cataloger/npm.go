package cataloger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isPackageJSON(p string) bool { return isAt(p, "package.json") }

// isYarnArchive: the packages of a Plug'n'Play installation stay in the zip
// files of Yarn's cache, and are run from there.
// https://yarnpkg.com/features/caching
func isYarnArchive(p string) bool {
	return strings.HasSuffix(p, ".zip") && (isIn(p, ".yarn/cache") || isIn(p, "berry/cache"))
}

// readPackageJSON lists the package that a package.json describes. One without
// a name or version only sets options for its directory.
func readPackageJSON(r io.Reader, out *Result) {
	raw, _ := io.ReadAll(r)
	addPackageJSON(raw, "", out)
}

func addPackageJSON(raw []byte, inner string, out *Result) {
	p, err := packageJSON(raw)
	if err != nil {
		out.gap(inventory.Partial, "npm-manifest", "package.json could not be read: "+err.Error())
	}
	if p.Name != "" && p.Version != "" {
		p.Inner = inner
		out.add(p)
	}
}

// packageJSON reads a manifest. Keys are compared as Node.js does, to the
// letter, and the last of several counts; that is why the document is read key
// by key. What stood before an error is given with it.
func packageJSON(raw []byte) (inventory.Package, error) {
	p := inventory.Package{Type: inventory.TypeNpm}
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	open, err := dec.Token()
	if err == io.EOF {
		return p, nil // an empty file says nothing, to npm too
	}
	if err != nil {
		return p, err
	}
	var license, many string
	for open == json.Delim('{') && dec.More() {
		var value json.RawMessage
		key, err := dec.Token()
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return p, err
		}
		switch key {
		case "name":
			p.Name = text(value)
		case "version":
			p.Version = text(value)
		case "license":
			license = licenses(value)
		case "licenses": // of before 2014
			many = licenses(value)
		}
		if p.License = license; license == "" {
			p.License = many
		}
	}
	if open == json.Delim('{') {
		if _, err := dec.Token(); err != nil {
			return p, fmt.Errorf("the object does not end: %w", err)
		}
	}
	return p, nil
}

// readYarnArchive lists the package in a zip file of Yarn's cache, and those
// that are bundled with it.
func readYarnArchive(f File, out *Result) {
	found := false
	err := eachZipped(f, isInstalledManifest, func(name string, raw []byte) {
		found = true
		addPackageJSON(raw, name, out)
	})
	switch {
	case err != nil:
		out.gap(inventory.Partial, "yarn-archive", fmt.Sprintf("an archive of Yarn's cache could not be read: %v", err))
	case !found:
		out.gap(inventory.Partial, "yarn-archive", "an archive of Yarn's cache holds no package.json where its package should be")
	}
}

// isInstalledManifest: node_modules/name/package.json, at any depth, the name
// with or without a scope.
func isInstalledManifest(p string) bool {
	if path.Base(p) != "package.json" {
		return false
	}
	parent := path.Dir(path.Dir(p))
	if strings.HasPrefix(path.Base(parent), "@") {
		parent = path.Dir(parent)
	}
	return path.Base(parent) == "node_modules"
}

// text gives a JSON string's value, "" for any other kind.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
