package layer

import (
	"maps"
	"slices"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/secret"
)

// Settings looks for credentials in what is in no layer: the environment, the
// labels and the history of an image. The history that is handed back is fit to
// be shown.
func (a *Analyzer) Settings(c *image.Config) (all []inventory.Secret, history []image.History, err error) {
	t, err := a.tools()
	if err != nil || t.secrets == nil {
		return nil, c.History, err
	}
	look := func(text string, as inventory.Secret) {
		for _, f := range t.secrets.ScanString("", text) {
			all = append(all, told(&f, as))
		}
	}
	if r := c.Runtime; r != nil {
		for _, variable := range r.Env {
			look(variable, inventory.Secret{Where: "config.Env", Name: nameOf(variable), Layer: -1})
		}
		for _, label := range slices.Sorted(maps.Keys(r.Labels)) {
			look(label+"="+r.Labels[label], inventory.Secret{Where: "config.Labels", Name: inventory.Printable(label), Layer: -1})
		}
	}
	layer := 0
	for i, h := range c.History {
		at := inventory.Secret{Where: "history", Index: i, Layer: -1}
		if !h.Empty {
			at.Layer = layer
			layer++
		}
		look(h.CreatedBy, at)
		h.CreatedBy = t.secrets.Redact(h.CreatedBy)
		history = append(history, h)
	}
	return all[:min(len(all), a.config.Limits.Findings)], history, nil
}

// told fills in what a finding says.
func told(f *secret.Finding, as inventory.Secret) inventory.Secret {
	as.Rule, as.Kind, as.Description, as.Line = f.Rule, f.Kind, f.Description, f.Line
	as.Redacted, as.Fingerprint, as.Entropy, as.Confidence = inventory.Printable(f.Redacted), f.Fingerprint, f.Entropy, f.Confidence
	return as
}

func nameOf(variable string) string {
	for i := range len(variable) {
		if variable[i] == '=' {
			return inventory.Printable(variable[:i])
		}
	}
	return ""
}
