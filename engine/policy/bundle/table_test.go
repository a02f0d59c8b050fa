package bundle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/policy/bundle"
)

func TestTable(t *testing.T) {
	items := []string{`{"id": "i", "gate": "dockerfile", "trigger_id": "41cb7cdf04850e33a11f80c42bf660b3"}`}
	rules := []string{rule("STOP", "always", "always"), rule("WARN", "dockerfile", "instruction", "instruction", "HEALTHCHECK", "check", "not_exists")}
	v := mustParse(t, document(rules, items, `, "whitelisted_images": [{"registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}]`)).Select(web, nil).Evaluate(ssh())
	const want = `{"cccc":{"result":{"header":["Image_Id","Repo_Tag","Trigger_Id","Gate","Trigger","Check_Output","Gate_Action","Whitelisted","Policy_Id"],` +
		`"row_count":2,"rows":[["cccc","docker.io/acme/web:1.0","always","always","always","Unconditional trigger match","stop",false,"p"],` +
		`["cccc","docker.io/acme/web:1.0","41cb7cdf04850e33a11f80c42bf660b3","dockerfile","instruction","Dockerfile directive 'HEALTHCHECK' not found, matching condition 'not_exists' check","go",` +
		`{"whitelist_name":"exceptions","whitelist_id":"w","matched_rule_id":"i"},"p"]],"final_action":"stop"},` +
		`"policy_data":[],"policy_name":"","whitelist_data":[],"whitelist_names":[]}}`
	if diff := cmp.Diff(want, toJSON(t, bundle.Table(v, "cccc", "docker.io/acme/web:1.0"))); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
