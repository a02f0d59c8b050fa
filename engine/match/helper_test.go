package match_test

import (
	"fmt"

	"github.com/pratique/pratique/engine/finding"
)

// summaries writes findings as "id [aliases] fixed".
func summaries(list []finding.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s %v %s", f.ID, f.Aliases, f.Fixed))
	}
	return out
}
