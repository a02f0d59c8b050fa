package layer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/secret"
)

// Settings looks for credentials in what is in no layer: the environment, the
// labels and the history of an image, and tells what was not looked at. The
// history that is handed back is fit to be shown.
func (a *Analyzer) Settings(c *image.Config) (all []inventory.Secret, history []image.History, gaps []inventory.Gap, err error) {
	t, err := a.tools()
	if err != nil || t.secrets == nil {
		return nil, c.History, nil, err
	}
	omitted, unread := 0, int64(0)
	look := func(text string, as inventory.Secret) {
		st := t.secrets.Stream("")
		_, _ = st.Write([]byte(text)) // never fails
		for _, f := range st.Close() {
			all = append(all, told(&f, as))
		}
		omitted, unread = omitted+st.Omitted(), unread+st.Unread()
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
	if most := a.config.Limits.Findings; len(all) > most {
		omitted += len(all) - most
		all = all[:most]
	}
	if omitted > 0 {
		gaps = append(gaps, inventory.Gap{Kind: inventory.Partial, Code: "too-many-findings", Layer: -1,
			Detail: fmt.Sprintf("the image's configuration holds %d more credentials; they are not listed", omitted)})
	}
	if unread > 0 {
		gaps = append(gaps, inventory.Gap{Kind: inventory.Partial, Code: "secrets-unread", Layer: -1,
			Detail: fmt.Sprintf("so much of the image's configuration looks like credentials that %d bytes of it were not searched for them", unread)})
	}
	return all, history, gaps, nil
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
