// Package misconfig finds settings that weaken an image: what its configuration
// asks of a runtime, how it was made, who may log in, and files that give rights
// away.
//
// It looks at facts that were gathered already, and reads nothing. Start with
// Check; rules.go lists what is looked for.
package misconfig

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// Check lists what is wrong with an image, the gravest first, and what it did not
// look at. The history is shown in findings: it is to hold no secret any more.
// Nothing is said of a configuration that is not known (nil).
func Check(im *inventory.Image, r *image.Runtime, history []image.History) ([]inventory.Misconfiguration, []inventory.Gap) {
	c := &checker{image: im, layers: layersOf(history)}
	if r != nil {
		c.runtime(r)
	}
	c.history(history)
	c.accounts()
	for _, f := range im.Marked { // last: a layer may have any number of them
		c.file(f)
	}
	slices.SortStableFunc(c.found, func(a, b inventory.Misconfiguration) int {
		return cmp.Or(cmp.Compare(rank[b.Severity], rank[a.Severity]), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer))
	})
	return c.found, c.gaps()
}

// gaps tells what was left out.
func (c *checker) gaps() []inventory.Gap {
	var all []inventory.Gap
	add := func(code, format string, n int) {
		if n > 0 {
			all = append(all, inventory.Gap{Kind: inventory.Partial, Code: code, Layer: -1, Detail: fmt.Sprintf(format, n)})
		}
	}
	add("too-many-settings", "%d more unsafe settings are not listed", c.omitted)
	add("command-too-long", "%d words of the command are too long to be looked at whole", c.long)
	return all
}

// Tags looks at the tags that an image is called by. They belong to a request or
// a repository, not to the image, and may change.
func Tags(tags []string) []inventory.Misconfiguration {
	c := &checker{}
	if slices.Contains(tags, "latest") {
		c.add("latest-tag", "", "latest", configLayer)
	}
	return c.found
}

var rank = map[string]int{low: 1, medium: 2, high: 3, critical: 4}

// maxFound bounds what is told of one image: a layer may have any number of
// files that are writable by all.
const maxFound = 5000

type checker struct {
	image  *inventory.Image
	layers []int // that each step of the history made; -1 for none
	found  []inventory.Misconfiguration

	omitted int // findings beyond maxFound
	long    int // words of the command beyond maxCommand
}

// add notes one finding by its rule.
func (c *checker) add(id, path, detail string, layer int) {
	if len(c.found) >= maxFound {
		c.omitted++
		return
	}
	r := rules[id]
	c.found = append(c.found, inventory.Misconfiguration{
		Rule: id, Severity: r.severity, Message: r.message, Path: path, Detail: inventory.Printable(detail), Layer: layer,
	})
}

// config is the layer of what stands in the configuration.
const configLayer = -1

// layersOf tells which layer each step of the history made.
func layersOf(history []image.History) []int {
	layers := make([]int, len(history))
	next := 0
	for i, h := range history {
		layers[i] = configLayer
		if !h.Empty {
			layers[i] = next
			next++
		}
	}
	return layers
}
