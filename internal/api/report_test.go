package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/match"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

func (d *door) page(path string, status int) string {
	d.t.Helper()
	got := d.call("GET", path, "", "Accept", html)
	if got.status != status || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		d.t.Fatalf("GET %s: HTTP %d %s", path, got.status, got.body)
	}
	if !strings.HasSuffix(strings.TrimSpace(got.body), "</html>") || strings.Contains(got.body, "ZgotmplZ") {
		d.t.Errorf("GET %s: the page is not whole: %s", path, got.body)
	}
	return got.body
}

func (d *door) says(page string, all ...string) {
	d.t.Helper()
	for _, want := range all {
		if !strings.Contains(page, want) {
			d.t.Errorf("the page does not say %q", want)
		}
	}
}

func TestReportOfRefusedImage(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("team/app", "1.0", bad)
	page := d.page("/report/"+bad.Digest().String(), 200)
	d.says(page, "team/app:1.0", "refused", "What to upgrade", "libcrypto3", "3.3.2-r0", "3.3.6-r0", "needed to pass", "lib/apk/db/installed",
		"CVE-2025-15467", `href="https://osv.dev/vulnerability/ALPINE-CVE-2025-15467"`, "Alpine Linux v3.20", "linux/amd64",
		`&#34;trigger_id&#34;: &#34;CVE-2025-15467&#43;libcrypto3&#34;`, "pratique policy get default", "revision 1")
	var doc struct {
		Kind      string
		Standings []struct{ Reference, Outcome, Action string }
		Upgrades  []struct {
			Package, Installed string
			To                 string `json:"upgrade_to"`
			Required           bool
			Fixes              int
		}
		Findings []struct {
			CVE, Decision string
		}
		Exception struct {
			Item struct {
				Gate      string
				TriggerID string `json:"trigger_id"`
			}
		}
	}
	d.get("/report/"+strings.Replace(bad.Digest().String(), ":", "%3A", 1), &doc)
	if doc.Kind != "image" || len(doc.Standings) != 1 || doc.Standings[0].Outcome != "refused" || doc.Findings[0].Decision != "stop" || doc.Exception.Item.Gate != "vulnerabilities" {
		t.Errorf("JSON: %+v", doc)
	}
	if u := doc.Upgrades[0]; u.To != "3.3.6-r0" || !u.Required || u.Fixes != 1 {
		t.Errorf("upgrade: %+v", u)
	}
}

// TestExampleWorks: the exception that a report proposes, put where it says,
// lets the image pass.
func TestExampleWorks(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad := imagetest.Vulnerable()
	d.push("team/app", "1.0", bad)
	var doc struct {
		Exception struct {
			Item       map[string]string
			Whitelists []string
		}
	}
	d.get("/report/"+bad.Digest().String()+"?format=json", &doc)
	strict := strings.Replace(lenient, `"rules":[]`, `"rules":[{"id":"r","gate":"vulnerabilities","trigger":"package","action":"STOP",
		"params":[{"name":"package_type","value":"all"},{"name":"severity_comparison","value":">"},{"name":"severity","value":"medium"}]}]`, 1)
	item := `{"id":"` + doc.Exception.Item["id"] + `","gate":"` + doc.Exception.Item["gate"] + `","trigger_id":"` + doc.Exception.Item["trigger_id"] + `","expires_on":"` + doc.Exception.Item["expires_on"] + `"}`
	excepting := strings.Replace(strict, `"whitelists":[]`, `"whitelists":[{"id":"w","version":"1_0","name":"w","items":[`+item+`]}]`, 1)
	excepting = strings.Replace(excepting, `"whitelist_ids":[]`, `"whitelist_ids":["w"]`, 1)
	for _, c := range []struct {
		name, bundle string
		allowed      bool
	}{{"strict", strict, false}, {"with the exception", excepting, true}} {
		if got := d.call("PUT", "/v1/policies/default?active=true", `{"policybundle":`+strings.Replace(c.bundle, `"lenient"`, `"default"`, 1)+`}`); got.status != 200 {
			t.Fatalf("%s: HTTP %d %s", c.name, got.status, got.body)
		}
		var v verdict
		d.get("/v1/pratique/check?reference=team/app:1.0", &v)
		if v.Allowed != c.allowed {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	if page := d.page("/report/"+bad.Digest().String(), 200); !strings.Contains(page, "excepted by w") {
		t.Error("the page does not tell of the exception")
	}
}

func TestReportOfIndex(t *testing.T) {
	d := open(t, gatetest.Options{})
	good := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	bad := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
	x := imagetest.BuildIndex(good, bad)
	d.pushIndex("team/multi", "1", x)
	page := d.page("/report/"+x.Digest().String(), 200)
	d.says(page, "Images of this index", "linux/amd64", "linux/arm64", `href="/report/`+good.Digest().String(), `href="/report/`+bad.Digest().String(), "refused")
	// The first page has the index alone, unless its image has a tag of its own.
	d.push("team/base", "1", good)
	home := d.page("/", 200)
	d.says(home, "team/multi:1", "team/base:1")
	if strings.Contains(home, bad.Digest().String()) {
		t.Error("the first page lists an image of the index")
	}
}

func TestReportOfGap(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.push("team/rpm", "1", rpm())
	d.says(d.page("/report/"+rpm().Digest().String(), 200), "What was not understood", "hides packages", "refused", "on_gap")
}

func TestReportNotFound(t *testing.T) {
	d := open(t, gatetest.Options{})
	page := d.page("/report/"+imagetest.Clean().Digest().String(), 404)
	d.says(page, "not known here", "docker pull 127.0.0.1:5000/NAME@"+imagetest.Clean().Digest().String())
	d.says(d.page("/report/nonsense", 400), "no digest")
	if got := d.call("GET", "/report/"+imagetest.Clean().Digest().String(), "", "Accept", "application/json"); got.status != 404 || !strings.Contains(got.body, `"httpcode": 404`) {
		t.Errorf("JSON: HTTP %d %s", got.status, got.body)
	}
}

// TestForeignTextIsEscaped: names in an image and in advisories are foreign.
func TestForeignTextIsEscaped(t *testing.T) {
	d := open(t, gatetest.Options{})
	const markup = `<script>alert(1)</script>`
	gatetest.WriteData(t, d.Dir, 2, append(gatetest.Advisories(), advisory.Advisory{
		ID: "ALPINE-CVE-2099-1", Aliases: []string{"CVE-2099-1"}, Ecosystem: "Alpine:v3.20", Package: "evil", Summary: markup, URL: "javascript:alert(1)",
		CVSS: []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "2.0-r0"}}}},
	}))
	if _, err := d.Gate.Data.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	im := imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{{Name: markup, Version: "1.0-r0", Origin: "evil"}})...))
	d.push("team/app", "1", im)
	for _, path := range []string{"/report/" + im.Digest().String(), "/"} {
		page := d.page(path, 200)
		if strings.Contains(page, "<script") || strings.Contains(page, `href="javascript:`) {
			t.Errorf("%s has foreign markup", path)
		}
	}
	d.says(d.page("/report/"+im.Digest().String(), 200), "&lt;script&gt;alert(1)&lt;/script&gt;", "CVE-2099-1")
}

func TestHome(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.says(d.page("/", 200), "Ready", "None yet", "docker push 127.0.0.1:5000/team/app:1.0")
	bad := imagetest.Vulnerable()
	d.push("team/app", "1.0", bad)
	d.says(d.page("/", 200), "/report/"+bad.Digest().String(), "team/app:1.0", "refused", "policy activated", "1 image")
}

// TestLongReport: a page is bounded, and says where the rest is.
func TestLongReport(t *testing.T) {
	d := open(t, gatetest.Options{})
	records := gatetest.Advisories()
	for i := range 1100 {
		records = append(records, advisory.Advisory{
			ID: fmt.Sprintf("ALPINE-CVE-2099-%04d", i), Aliases: []string{fmt.Sprintf("CVE-2099-%04d", i)}, Ecosystem: "Alpine:v3.20", Package: "openssl",
			Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: fmt.Sprintf("4.0.%d-r0", i)}}}},
		})
	}
	gatetest.WriteData(t, d.Dir, 2, records)
	if _, err := d.Gate.Data.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	content := imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})
	for i := range 7 {
		content = append(content, imagetest.Npm(fmt.Sprintf("srv/%d", i), "lodash", "4.17.15"))
	}
	im := imagetest.Build(imagetest.Gzip(content...))
	d.push("team/app", "1", im)
	page := d.page("/report/"+im.Digest().String(), 200)
	// What belongs together is found together: the highest version, by number.
	d.says(page, "1,102 vulnerabilities", "These are the first", "and 2 more", "4.0.1099-r0")
	if rows := strings.Count(page, `data-label="CVSS"`); rows != 1000 {
		t.Errorf("%d findings on the page", rows)
	}
}

// TestReportLeavesNothingOut: what scan tells of an image, its report tells too.
// Errata that mend no vulnerability are listed and not counted as some.
func TestReportLeavesNothingOut(t *testing.T) {
	d := open(t, gatetest.Options{})
	gatetest.WriteData(t, d.Dir, 2, append(gatetest.Advisories(), advisory.Advisory{
		ID: "ERRATUM-1", Ecosystem: "Alpine:v3.20", Package: "openssl", Kind: advisory.KindBugFix,
		Ranges: []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: "9.9.9-r0"}}}},
	}))
	if _, err := d.Gate.Data.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := imagetest.Vulnerable()
	d.push("team/app", "1.0", bad)
	im, err := d.Gate.Inventory(t.Context(), bad.Digest()) // that in the gate's memory
	if err != nil {
		t.Fatal(err)
	}
	im.Malware = []inventory.Malware{{Scanner: "clamav", Path: "srv/<eicar>", Signature: "Eicar-Test"}}
	im.Locked = []inventory.Package{{Name: "lodash", Version: "4.17.15", Type: "npm", Evidence: inventory.EvidenceLock}}
	im.Packages = append(im.Packages, inventory.Package{Name: "x", Version: "1", Type: "npm", License: "Apache 2.0"}, inventory.Package{Name: "y", Version: "1", Type: "npm", License: "Apache-2.0"})
	var doc struct {
		Image struct {
			Packages, Locked int
			Licenses         []struct {
				License  string
				Packages int
			}
		}
		Findings []struct{ Class string }
		Upgrades []struct {
			To    string `json:"upgrade_to"`
			Fixes int
		}
		Malware []inventory.Malware
		Gaps    []inventory.Gap
	}
	d.get("/report/"+bad.Digest().String()+"?format=json", &doc)
	if !slices.ContainsFunc(doc.Gaps, func(g inventory.Gap) bool { return g.Code == match.GapEndOfLife }) {
		t.Errorf("the release has come to its end, and no gap says so: %+v", doc.Gaps)
	}
	if n := len(doc.Findings); n != 2 || doc.Findings[1].Class != "bugfix" || len(doc.Upgrades) != 1 || doc.Upgrades[0].Fixes != 1 || doc.Upgrades[0].To != "3.3.6-r0" {
		t.Errorf("%+v %+v", doc.Findings, doc.Upgrades)
	}
	if i := doc.Image; i.Locked != 1 || len(i.Licenses) != 2 || i.Licenses[0].License != "Apache-2.0" || i.Licenses[0].Packages != 2 || len(doc.Malware) != 1 {
		t.Errorf("%+v %+v", i, doc.Malware)
	}
	d.says(d.page("/report/"+bad.Digest().String(), 200), "1 vulnerability, and 1 erratum that mends none", "support of alpine 3.20.3 (Alpine:v3.20) ended", "Malware", "Eicar-Test",
		"srv/&lt;eicar&gt;", "1 more is named by lock files", "Apache-2.0 (2), MIT (1)")
}
