package cataloger

import (
	"encoding/json"
	"strings"
)

// maxLicenses is how many licences of one package are kept.
const maxLicenses = 20

// licenses reads the field of a JSON manifest that names licences: a name, an
// object {"type": name}, or an array of these, of which one may choose.
func licenses(raw json.RawMessage) string {
	if name := licenseName(raw); name != "" {
		return name
	}
	var many []json.RawMessage
	if json.Unmarshal(raw, &many) != nil {
		return ""
	}
	names := make([]string, 0, min(len(many), maxLicenses))
	for _, one := range many[:min(len(many), maxLicenses)] {
		if name := licenseName(one); name != "" {
			names = append(names, name)
		}
	}
	return anyOf(names)
}

func licenseName(raw json.RawMessage) string {
	if name := text(raw); name != "" {
		return name
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}
	return text(object["type"])
}

// anyOf joins the names of licences of which one may choose. A name that is an
// expression itself is put in brackets.
func anyOf(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	joined := make([]string, len(names))
	for i, name := range names {
		if strings.Contains(name, " AND ") && name[0] != '(' {
			name = "(" + name + ")"
		}
		joined[i] = name
	}
	return strings.Join(joined, " OR ")
}
