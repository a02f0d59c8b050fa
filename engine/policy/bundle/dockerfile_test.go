package bundle_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/policy"
)

func TestExposedPorts(t *testing.T) {
	const (
		denied = "Dockerfile exposes port (%) which is in policy file DENIEDPORTS list"
		stray  = "Dockerfile exposes port (%) which is not in policy file ALLOWEDPORTS list"
	)
	tests := []struct {
		name    string
		listed  string
		typ     string
		exposed []string
		want    []string
	}{
		{"denied", "22", "blacklist", []string{"22/tcp", "80/tcp"}, []string{message(denied, "22")}},
		{"denied, no protocol", "22", "denylist", []string{"22"}, []string{message(denied, "22")}},
		{"denied under UDP", "53", "blacklist", []string{"53/udp"}, []string{message(denied, "53/udp")}},
		{"both protocols fire once", "53", "blacklist", []string{"53/tcp", "53/udp"}, []string{message(denied, "53")}},
		{"in a range", "7005", "blacklist", []string{"7000-7010/tcp"}, []string{message(denied, "7005")}},
		{"not exposed", "22", "blacklist", []string{"2222/tcp"}, []string{}},
		{"allowed", "80, 443", "whitelist", []string{"80/tcp", "443/udp"}, []string{}},
		{"not allowed", "80", "allowlist", []string{"80/tcp", "22/tcp", "53/udp"}, []string{message(stray, "22"), message(stray, "53/udp")}},
		{"nothing exposed", "80", "whitelist", nil, []string{}},
		{"any denied", "0", "blacklist", []string{"80/tcp", "53/udp"}, []string{"Dockerfile exposes network ports but policy sets DENIEDPORTS=0: ['53/udp', '80']"}},
		{"none allowed", "0", "whitelist", []string{"80/tcp"}, []string{"Dockerfile exposes network ports but policy sets ALLOWEDPORTS=0: ['80']"}},
		{"any denied, nothing exposed", "0", "blacklist", nil, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := facts()
			in.Image.Runtime = &image.Runtime{ExposedPorts: tt.exposed}
			b := mustParse(t, document([]string{rule("STOP", "dockerfile", "exposed_ports", "ports", tt.listed, "type", tt.typ)}, nil, ""))
			v := b.Select(web, nil).Evaluate(in)
			got := []string{}
			for _, r := range v.Rows {
				got = append(got, r.Message)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func message(format, port string) string { return strings.Replace(format, "%", port, 1) }

func TestUnreadablePortsFailClosed(t *testing.T) {
	for _, key := range []string{"", "ssh", "22000000/tcp", "10-5", "-"} {
		in := facts()
		in.Image.Runtime = &image.Runtime{ExposedPorts: []string{key}}
		b := mustParse(t, document([]string{rule("WARN", "dockerfile", "exposed_ports", "ports", "22", "type", "blacklist")}, nil, ""))
		if v := b.Select(web, nil).Evaluate(in); v.Action != policy.Stop {
			t.Errorf("%q: action %v", key, v.Action)
		}
	}
}

// Stored exceptions may hold the id of either spelling of a TCP port.
func TestPortExceptionUnderBothSpellings(t *testing.T) {
	ids := []string{
		"cc05c35507995b4a657b63f9b0baa281", // of "(22)"
		md5Hex("dockerfileexposed_portsDockerfile exposes port (22/tcp) which is in policy file DENIEDPORTS list"),
	}
	for _, id := range ids {
		item := `{"id": "1", "gate": "dockerfile", "trigger_id": "` + id + `"}`
		in := facts()
		in.Image.Runtime = &image.Runtime{ExposedPorts: []string{"22/tcp"}}
		b := mustParse(t, document([]string{rule("STOP", "dockerfile", "exposed_ports", "ports", "22", "type", "blacklist")}, []string{item}, ""))
		if diff := cmp.Diff([]string{"go cc05c35507995b4a657b63f9b0baa281 *"}, lines(b.Select(web, nil).Evaluate(in))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	}
}

func TestInstruction(t *testing.T) {
	tests := []struct {
		name    string
		params  []string
		healthy bool
		want    []string
	}{
		{"1.10 absent", []string{"check", "not_exists"}, false, []string{"warn 41cb7cdf04850e33a11f80c42bf660b3"}},
		{"not absent", []string{"check", "not_exists"}, true, []string{}},
		{"present", []string{"check", "exists"}, true, []string{"warn " + md5Hex("dockerfileinstructionDockerfile directive 'HEALTHCHECK' check 'exists' matched against '' for line ''")}},
		{"not present", []string{"check", "exists"}, false, []string{}},
		{"actual Dockerfile alone", []string{"check", "not_exists", "actual_dockerfile_only", "true"}, false, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := facts()
			in.Image.Runtime = &image.Runtime{Healthcheck: tt.healthy}
			params := append([]string{"instruction", "HEALTHCHECK"}, tt.params...)
			v := mustParse(t, document([]string{rule("WARN", "dockerfile", "instruction", params...)}, nil, "")).Select(web, nil).Evaluate(in)
			if diff := cmp.Diff(tt.want, lines(v)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoDockerfileVector(t *testing.T) {
	v := mustParse(t, document([]string{rule("WARN", "dockerfile", "no_dockerfile_provided")}, nil, "")).Select(web, nil).Evaluate(facts())
	if diff := cmp.Diff([]string{"warn b00b22232c1902075263067d2d2b8eea"}, lines(v)); diff != "" {
		t.Errorf("1.10 (-want +got):\n%s", diff)
	}
}
