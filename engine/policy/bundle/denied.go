package bundle

import "slices"

// compileDenied: vulnerabilities.blacklist, later denylist, fires once with all
// listed vulnerabilities that the image has, under any of their names.
func compileDenied(v values) (check, string) {
	listed, vendorOnly := v.list("vulnerability_ids"), v.boolean("vendor_only", true)
	return func(e *evaluation) ([]fired, error) {
		present := map[string]bool{}
		for _, u := range e.vulnerabilities() {
			if vendorOnly && u.finding.WillNotFix {
				continue
			}
			for _, name := range u.names() {
				present[name] = true
			}
		}
		found := slices.DeleteFunc(slices.Clone(listed), func(id string) bool { return !present[id] })
		if len(found) == 0 {
			return nil, nil
		}
		message := "Blacklisted vulnerabilities detected: " + pythonList(found)
		// The rule may use either name of the trigger; stored exceptions hold
		// the id of Anchore Engine's.
		return []fired{{
			ids:     []string{hashed("vulnerabilities", "blacklist", message), hashed("vulnerabilities", "denylist", message)},
			message: message, finding: -1,
		}}, nil
	}, ""
}
