package misconfig

import "github.com/pratique/pratique/engine/inventory"

// Secrets lists what the credentials of an image say of its making: those in the
// configuration, and those that a later layer deletes. What was found in files
// that are still there is told as a secret alone.
func Secrets(all []inventory.Secret) ([]inventory.Misconfiguration, []inventory.Gap) {
	c := &checker{}
	for _, s := range all {
		if s.Confidence != "high" {
			continue
		}
		switch {
		case s.Where == "config.Env":
			c.add("secret-in-env", "", s.Name+" ("+s.Kind+")", configLayer)
		case s.Where == "config.Labels":
			c.add("secret-in-labels", "", s.Name+" ("+s.Kind+")", configLayer)
		case s.Where == "history":
			c.add("secret-in-history", "", s.Kind, s.Layer)
		case s.Deleted:
			c.add("secret-deleted", s.Path, s.Kind, s.Layer)
		}
	}
	return c.found, c.gaps()
}
