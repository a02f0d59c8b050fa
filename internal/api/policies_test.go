package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

type policyRecord struct {
	ID     string          `json:"policyId"`
	Active bool            `json:"active"`
	Name   string          `json:"name"`
	Bundle json.RawMessage `json:"policybundle"`
}

// lenient lets everything pass.
const lenient = `{"id":"lenient","version":"1_0","name":"Lenient","policies":[{"id":"p","version":"1_0","name":"p","rules":[]}],"whitelists":[],
	"mappings":[{"id":"m","name":"all","registry":"*","repository":"*","image":{"type":"tag","value":"*"},"policy_ids":["p"],"whitelist_ids":[]}]}`

func TestPolicies(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.push("team/app", "1", imagetest.Vulnerable())
	var records []policyRecord
	d.get("/v1/policies", &records)
	if len(records) != 2 || string(records[0].Bundle) != "{}" {
		t.Fatalf("list: %+v", records)
	}
	d.get("/v1/policies?detail=True", &records)
	if len(records[0].Bundle) < 100 {
		t.Errorf("list with detail: %s", records[0].Bundle)
	}
	got := d.call("POST", "/v1/policies", lenient)
	var added policyRecord
	if err := json.Unmarshal([]byte(got.body), &added); err != nil || got.status != 200 || added.ID != "lenient" || added.Active {
		t.Fatalf("add: HTTP %d %s", got.status, got.body)
	}
	// anchore-cli reads the record, says active in it, and sends it back.
	added.Active = true
	body, err := json.Marshal(added)
	d.check(err)
	if got := d.call("PUT", "/v1/policies/lenient?active=true", string(body)); got.status != 200 {
		t.Fatalf("activate: HTTP %d %s", got.status, got.body)
	}
	d.get("/v1/policies/lenient", &records)
	if len(records) != 1 || !records[0].Active || records[0].Name != "Lenient" {
		t.Errorf("get: %+v", records)
	}
	var v verdict
	d.get("/v1/pratique/check?reference=team/app:1", &v)
	if !v.Allowed || v.Policy.ID != "lenient" || v.Policy.Mapping != "all" {
		t.Errorf("the new policy is not in force: %+v", v)
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"deactivate", "PUT", "/v1/policies/lenient?active=false", `{"active":false}`, 409, "activate another"},
		{"activate what is not there", "PUT", "/v1/policies/none?active=true", `{}`, 404, "no policy"},
		{"no record", "PUT", "/v1/policies/lenient", `[1]`, 400, "no policy record"},
		{"another id", "PUT", "/v1/policies/default", `{"policybundle":` + lenient + `}`, 400, "another"},
		{"get what is not there", "GET", "/v1/policies/none", "", 404, "no policy"},
		{"no JSON", "POST", "/v1/policies", `{`, 400, "validation_details"},
		{"nothing", "POST", "/v1/policies", ``, 400, "validation_details"},
		{"too large", "POST", "/v1/policies", strings.Repeat(" ", 9<<20), 413, "larger"},
		{"without id", "POST", "/v1/policies", strings.Replace(lenient, `"id":"lenient",`, "", 1), 200, `"policyId"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := d.call(c.method, c.path, c.body); got.status != c.status || !strings.Contains(got.body, c.want) {
				t.Errorf("HTTP %d %s", got.status, got.body)
			}
		})
	}
}

// TestInvalidPolicy: every problem is told, in Anchore's shape.
func TestInvalidPolicy(t *testing.T) {
	d := open(t, gatetest.Options{})
	rules := `{"id":"r1","gate":"nothing","trigger":"x","action":"STOP","params":[]},{"id":"r2","gate":"vulnerabilities","trigger":"nothing","action":"STOP","params":[]}`
	got := d.call("POST", "/v1/policies", strings.Replace(lenient, `"rules":[]`, `"rules":[`+rules+`]`, 1))
	var e struct {
		Message  string
		Httpcode int
		Detail   struct {
			Problems []struct {
				Severity string
				Type     string `json:"problem_type"`
				Details  string
			} `json:"validation_details"`
		}
	}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		t.Fatal(err)
	}
	if got.status != 400 || e.Message != "Bundle failed validation" || len(e.Detail.Problems) != 2 || e.Detail.Problems[0].Type != "GateNotFoundError" || e.Detail.Problems[1].Type != "TriggerNotFoundError" {
		t.Errorf("HTTP %d %s", got.status, got.body)
	}
}
