// Package policies holds the policy bundles that ship with Pratique, embedded
// in the binary.
//
// It knows nothing of what they mean: engine/policy/bundle reads and judges
// them, and its tests hold each pack to what it promises. Start with All.
package policies

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.json
var files embed.FS

// Pack is one bundle that ships.
type Pack struct {
	Name string // of its file, without extension: "default"
	Raw  []byte // the JSON document
}

// Default is the name of the pack that is active unless the configuration names
// another.
const Default = "default"

// All gives the packs, sorted by name.
func All() ([]Pack, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list the embedded policy packs: %w", err)
	}
	packs := make([]Pack, 0, len(entries))
	for _, e := range entries {
		raw, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the embedded policy pack %s: %w", e.Name(), err)
		}
		packs = append(packs, Pack{Name: strings.TrimSuffix(e.Name(), ".json"), Raw: raw})
	}
	return packs, nil
}
