package cataloger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isComposerInstalled(p string) bool { return isAt(p, "composer/installed.json") }

// readComposerInstalled reads what Composer has installed: an array of packages
// (version 1), or an object that holds it (version 2).
// https://getcomposer.org/doc/04-schema.md
func readComposerInstalled(r io.Reader, out *Result) {
	defer out.close("composer-records")
	raw, _ := io.ReadAll(r)
	list := json.RawMessage(raw)
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		var document map[string]json.RawMessage
		err = json.Unmarshal(raw, &document)
		list = document["packages"]
	}
	if err == nil {
		err = addComposer(list, out)
	}
	if err != nil {
		out.gap(inventory.Partial, "composer-installed", fmt.Sprintf("Composer's list of packages could not be read: %v", err))
	}
}

// addComposer lists an array of packages. What is installed from a branch has
// no version to compare.
func addComposer(list json.RawMessage, out *Result) error {
	branches, example := 0, ""
	err := elements(list, func(fields map[string]json.RawMessage) {
		p := inventory.Package{Type: inventory.TypeComposer, Name: text(fields["name"]), Version: text(fields["version"]), License: licenses(fields["license"])}
		switch {
		case p.Name == "" || p.Version == "":
			out.bad("a package has no name or no version")
		case isComposerBranch(p.Version):
			if branches++; branches == 1 {
				example = p.Name + " " + p.Version
			}
		default:
			out.add(p)
		}
	})
	if branches > 0 {
		out.gap(inventory.Partial, "composer-branch", fmt.Sprintf("%d packages come from a branch and have no version, one is %s", branches, example))
	}
	return err
}

// elements hands over the elements of a JSON array, one at a time: a few bytes
// each, they would take a hundred times as much memory together.
func elements[T any](array []byte, told func(T)) error {
	dec := json.NewDecoder(bytes.NewReader(array))
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('[') {
		return errNoArray
	}
	var odd error
	for dec.More() {
		var element T
		err := dec.Decode(&element)
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			odd = err // of this element; the next can be read
		} else if err != nil {
			return err
		}
		told(element)
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	return odd
}

var errNoArray = errors.New("the packages are no array")

// isComposerBranch: "dev-main", or "2.x-dev" for a branch named like a version.
func isComposerBranch(version string) bool {
	return strings.HasPrefix(version, "dev-") || strings.HasSuffix(version, "x-dev")
}
