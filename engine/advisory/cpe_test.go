package advisory_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/sharedtest"
)

// ranged gives "package >=a <b; ..." of each Advisory.
func ranged(all []advisory.Advisory) []string {
	var lines []string
	for _, a := range all {
		var parts []string
		for _, r := range a.Ranges {
			part := ""
			for _, e := range r.Events {
				switch {
				case e.Introduced != "":
					part += ">=" + e.Introduced
				case e.Fixed != "":
					part += " <" + e.Fixed
				case e.LastAffected != "":
					part += " <=" + e.LastAffected
				}
			}
			parts = append(parts, part)
		}
		lines = append(lines, a.Ecosystem+" "+a.Package+" "+strings.Join(parts, "; "))
	}
	return lines
}

func TestNVDProducts(t *testing.T) {
	node := func(match string) string { return `{"operator": "OR", "negate": false, "cpeMatch": [` + match + `]}` }
	cpe := func(product, rest, more string) string {
		return fmt.Sprintf(`{"vulnerable": true, "criteria": "cpe:2.3:a:%s:%s"%s}`, product, rest, more)
	}
	const any = "*:*:*:*:*:*:*:*"
	for _, tt := range []struct {
		name, configurations string
		want                 []string
	}{
		{"below a version", `{"nodes": [` + node(cpe("openssl:openssl", any, `, "versionStartIncluding": "3.0.0", "versionEndExcluding": "3.0.8"`)) + `]}`, []string{"NVD cpe:2.3:a:openssl:openssl >=3.0.0 <3.0.8"}},
		{"up to a version", `{"nodes": [` + node(cpe("gnu:bash", any, `, "versionStartExcluding": "4.0", "versionEndIncluding": "5.1"`)) + `]}`, []string{"NVD cpe:2.3:a:gnu:bash >=4.0 <=5.1"}},
		{"all versions", `{"nodes": [` + node(cpe("zlib:zlib", any, "")) + `]}`, []string{"NVD cpe:2.3:a:zlib:zlib >=0"}},
		{"single versions", `{"nodes": [` + node(cpe("openbsd:openssh", "9.6:p1:*:*:*:*:*:*", "")+","+cpe("openssl:openssl", "3.0.0:alpha1:*:*:*:*:*:*", "")) + `]}`,
			[]string{"NVD cpe:2.3:a:openbsd:openssh >=9.6p1 <=9.6p1", "NVD cpe:2.3:a:openssl:openssl >=3.0.0-alpha1 <=3.0.0-alpha1"}},
		{"no version", `{"nodes": [` + node(cpe("isc:bind", "-:*:*:*:*:*:*:*", "")) + `]}`, nil},
		{"another system", `{"nodes": [` + node(cpe("haxx:curl", "*:*:*:*:*:windows:*:*", "")) + `]}`, nil},
		{"on Windows", `{"operator": "AND", "nodes": [` + node(cpe("haxx:curl", any, "")) + "," + node(`{"vulnerable": false, "criteria": "cpe:2.3:o:microsoft:windows:-:*:*:*:*:*:*:*"}`) + `]}`, nil},
		{"on Linux", `{"operator": "AND", "nodes": [` + node(cpe("haxx:curl", any, "")) + "," + node(`{"vulnerable": false, "criteria": "cpe:2.3:o:linux:linux_kernel:-:*:*:*:*:*:*:*"}`) + `]}`, []string{"NVD cpe:2.3:a:haxx:curl >=0"}},
		{"a platform, not at fault", `{"nodes": [` + node(`{"vulnerable": false, "criteria": "cpe:2.3:a:gnu:bash:*:*:*:*:*:*:*:*"}`) + `]}`, nil},
		{"a product with better records", `{"nodes": [` + node(cpe("redis:redis", any, "")) + `]}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := `{"cve": {"id": "CVE-2024-1234", "published": "2024-01-02T03:04:05.678", "lastModified": "2024-02-02T03:04:05.678", "descriptions": [{"lang": "en", "value": "x"}], "configurations": [` + tt.configurations + `]}}`
			got, err := advisory.FromNVDProducts([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, ranged(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(got) > 0 && (got[0].ID != "CVE-2024-1234" || got[0].Modified.Month() != 2 || got[0].Summary != "x") {
				t.Errorf("%+v", got[0])
			}
		})
	}
}

func TestSharedNVDProducts(t *testing.T) {
	for name, want := range map[string]string{"CVE-2018-1000500.json": "NVD cpe:2.3:a:busybox:busybox >=0 <1.32.0", "CVE-2024-3094.json": "", "api-2.0-page.json": ""} {
		raw, err := os.ReadFile(sharedtest.Dir(t, "data", "formats", "nvd", name))
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Vulnerabilities []json.RawMessage `json:"vulnerabilities"`
		}
		if err := json.Unmarshal(raw, &page); err != nil || len(page.Vulnerabilities) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for _, entry := range page.Vulnerabilities {
			got, err := advisory.FromNVDProducts(entry)
			if err != nil || strings.Join(ranged(got), "\n") != want {
				t.Errorf("%s: %v, %v", name, ranged(got), err)
			}
		}
	}
}

func FuzzFromNVDProducts(f *testing.F) {
	f.Add([]byte(`{"cve": {"id": "CVE-2024-1234", "configurations": [{"operator": "AND", "nodes": [{"cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:gnu:bash:5.0:p1:*:*:*:*:*:*"}]}]}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := advisory.FromNVDProducts(raw)
		if err != nil && !errors.Is(err, advisory.ErrBadRecord) {
			t.Fatal(err)
		}
		for _, a := range all {
			if product, ok := advisory.CPEProduct(a.Package + ":*"); !ok || product != a.Package || a.Ecosystem != advisory.NVD || len(a.Ranges) == 0 {
				t.Errorf("%+v", a)
			}
		}
	})
}
