package deploy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// needs are the values without which another one has no effect, by the beginning
// of its path; the longest counts.
var needs = map[string]values{
	"priorityClass.name":                  {"priorityClass": values{"create": false}},
	"caBundle.key":                        {"caBundle": values{"configMap": "bundle"}},
	"users.key":                           {"users": values{"existingSecret": "people"}},
	"serve.tls.certManager":               {"serve": values{"tls": values{"certManager": values{"enabled": true, "issuerRef": values{"name": "ca"}}}}},
	"serve.service.registryNodePort":      {"serve": values{"service": values{"type": "NodePort"}}},
	"serve.service.apiNodePort":           {"serve": values{"service": values{"type": "NodePort"}}},
	"serve.ingress":                       {"serve": values{"ingress": values{"enabled": true, "registryHost": "a.example"}}},
	"admission.tls.certManager.issuerRef": {"admission": values{"tls": values{"certManager": values{"enabled": true, "issuerRef": values{"name": "ca"}}}}},
	"admission.account":                   {"admission": values{"account": values{"name": "robot+a", "existingSecret": "a"}}},
	"admission.pullSecrets": {"admission": values{"pullSecrets": values{"scope": "named",
		"named": []any{values{"namespace": "team-b", "names": []any{"hub"}}}}}},
	"redis.enabled":   {"redis": values{"external": values{"url": ""}}, "admission": values{"enabled": false}},
	"redis.external":  {"redis": values{"enabled": false, "external": values{"url": "redis://other:6379/0"}}},
	"serviceMonitor":  {"serviceMonitor": values{"enabled": true}},
	"serve.anonymous": {"users": values{"existingSecret": "people"}},
	"config.auth":     {"users": values{"existingSecret": "people"}},
}

// TestEveryValue changes each value of the chart once: the rendering decodes
// strictly, its configuration loads, and it is not the one before.
func TestEveryValue(t *testing.T) {
	c := loadChart(t)
	seen, unchanged := 0, map[string]string{}
	schema(t).walk(nil, func(path []string, leaf *node) {
		seen++
		name := strings.Join(path, ".")
		t.Run(name, func(t *testing.T) {
			prefix := prerequisite(name)
			before := needs[prefix]
			if unchanged[prefix] == "" {
				unchanged[prefix] = listing(release{values: before}.render(t))
			}
			old := at(c.Values, path)
			if v := at(before, path); v != nil {
				old = v
			}
			after := merged(before, nested(path, changed(t, leaf, old)))
			documents := release{values: after}.render(t)
			if listing(documents) == unchanged[prefix] {
				t.Errorf("from %v to %v changes nothing", old, at(after, path))
			}
			configs(t, decodeAll(t, documents))
		})
	})
	if seen < 100 {
		t.Errorf("%d values found, there are more", seen)
	}
}

// prerequisite gives the key of needs that a path goes by, or "".
func prerequisite(name string) (best string) {
	for prefix := range needs {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return best
}

// changed gives another value that the schema allows.
func changed(t *testing.T, leaf *node, old any) any {
	t.Helper()
	if leaf.Ref != "" {
		t.Fatal("references are not followed")
	}
	if leaf.Type == "boolean" {
		return old != true
	}
	candidates := leaf.Examples
	for _, e := range leaf.Enum {
		candidates = append(candidates, e)
	}
	if leaf.Type == "integer" && leaf.Maximum != nil {
		candidates = append(candidates, *leaf.Maximum)
	}
	i := slices.IndexFunc(candidates, func(c any) bool {
		return !reflect.DeepEqual(c, old) && fmt.Sprint(c) != fmt.Sprint(old)
	})
	if i < 0 {
		t.Fatalf("the schema has no example that differs from %v", old)
	}
	return candidates[i]
}

// at gives what stands at a path, or nil.
func at(v values, path []string) any {
	for i, key := range path {
		if i == len(path)-1 {
			return v[key]
		}
		next, ok := v[key].(values)
		if !ok {
			return nil
		}
		v = next
	}
	return nil
}

// nested gives the values that set one path.
func nested(path []string, value any) values {
	if len(path) == 1 {
		return values{path[0]: value}
	}
	return values{path[0]: nested(path[1:], value)}
}

// merged lays one over the other and changes neither.
func merged(below, above values) values {
	all := values{}
	for key, v := range below {
		if m, ok := v.(values); ok {
			v = merged(m, nil)
		}
		all[key] = v
	}
	for key, v := range above {
		over, ok := v.(values)
		under, both := all[key].(values)
		if ok && both {
			v = merged(under, over)
		}
		all[key] = v
	}
	return all
}
