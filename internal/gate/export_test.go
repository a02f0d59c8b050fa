package gate

import (
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

// StopMessage and GapMessage are what a client of this gate is told.
func (g *Gate) StopMessage(bundleName string, v *policy.Verdict) string {
	return stopMessage(g.Report(v.Manifest), bundle.Selection{BundleName: bundleName}, v)
}

func (g *Gate) GapMessage(v *policy.Verdict, blind []inventory.Gap) string {
	return gapMessage(g.Report(v.Manifest), blind)
}
