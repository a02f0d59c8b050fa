package cluster_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// right is a row of the table in doc.go.
type right struct {
	part, where, group, resource, name string
	verbs                              []string
}

type rights []right

// ownNamespace is Pratique's in tests, and owned the names that rows speak of.
const ownNamespace = "pratique"

var owned = map[string][]string{"secret": {"webhook-tls"}, "webhooks": {"check", "second", "change"}, "lease": {"inventory"}}

// granted reads the rows of the parts.
func granted(t *testing.T, parts ...string) rights {
	t.Helper()
	raw, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var all rights
	for line := range strings.Lines(string(raw)) {
		row := strings.Fields(strings.TrimPrefix(line, "//\t"))
		if !strings.HasPrefix(line, "//\t") || len(row) < 6 || !slices.Contains(parts, row[0]) {
			continue
		}
		r := right{row[0], row[1], row[2], row[3], row[4], row[5:]}
		if r.group == "core" {
			r.group = ""
		}
		all = append(all, r)
	}
	for _, part := range parts {
		if !slices.ContainsFunc(all, func(r right) bool { return r.part == part }) {
			t.Fatalf("the table of doc.go has no row for %q", part)
		}
	}
	return all
}

// allow says whether an API server with these rules lets the request through.
func (rs rights) allow(verb string, a ask) bool {
	resource := a.resource
	if a.sub != "" {
		resource += "/" + a.sub
	}
	return slices.ContainsFunc(rs, func(r right) bool {
		return r.group == a.group && r.resource == resource && slices.Contains(r.verbs, verb) &&
			(r.where == "cluster" || a.namespace == ownNamespace) &&
			(r.name == "*" || slices.Contains(owned[r.name], a.name))
	})
}
