package javaarchive

import (
	"strings"
	"testing"
)

// TestGroups: an artifact of two groups would be found under either, by chance.
func TestGroups(t *testing.T) {
	seen := map[string]string{}
	for group, artifacts := range groups {
		for artifact := range strings.FieldsSeq(artifacts) {
			if seen[artifact] != "" {
				t.Errorf("%s: %s and %s", artifact, seen[artifact], group)
			}
			seen[artifact] = group
		}
	}
	for bundle, coordinates := range bundles {
		if group, artifact, ok := strings.Cut(coordinates, "/"); !ok || group == "" || artifact == "" {
			t.Errorf("%s: %s", bundle, coordinates)
		}
	}
}
