package advisory_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/internal/sharedtest"
)

func readCSAF(t testing.TB, path string) advisory.CSAFDocument {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := advisory.FromCSAF(raw)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// spell gives one line for each Advisory of a document.
func spell(doc advisory.CSAFDocument) []string {
	var lines []string
	for _, a := range doc.Advisories {
		text := fmt.Sprintf("%s %s", a.Ecosystem, a.Package)
		if a.Module != "" {
			text += " of " + a.Module
		}
		for _, r := range a.Ranges {
			for _, e := range r.Events[1:] {
				text += " <" + e.Fixed
			}
		}
		for _, more := range []string{a.Status, a.Rating, a.RatingSource, strings.Join(a.Aliases, ",")} {
			if more != "" {
				text += " " + more
			}
		}
		if a.VendorFinal {
			text += " final"
		}
		if a.WillNotFix {
			text += " never"
		}
		lines = append(lines, text)
	}
	return lines
}

func TestRedHatVEX(t *testing.T) {
	doc := readCSAF(t, "testdata/csaf/redhat-vex.json")
	want := []string{
		"Red Hat:enterprise_linux:7 libfoo end-of-life high Red Hat never",
		"Red Hat:enterprise_linux:7 oldfoo not-affected",
		"Red Hat:enterprise_linux:7 oldfoo.src not-affected",
		"Red Hat:enterprise_linux:8 foo.src affected medium Red Hat final",
		"Red Hat:enterprise_linux:8 libfoo will-not-fix medium Red Hat final never",
		"Red Hat:enterprise_linux:8 npm of nodejs:16 <1:8.19.2-1.16.18.1.3.module+el8 high Red Hat",
		"Red Hat:enterprise_linux:8 ruby of ruby:2.5 fix-deferred high Red Hat",
		"Red Hat:enterprise_linux:8 ruby of ruby:3.1 <3.1.4-142.module+el8.9.0+21471+7d1e4a35 high Red Hat",
		"Red Hat:enterprise_linux:8 ruby.src of ruby:2.5 fix-deferred high Red Hat",
		"Red Hat:enterprise_linux:9 libfoo <1:2.3-9.el9_3 high Red Hat final",
	}
	if diff := cmp.Diff(want, spell(doc)); diff != "" {
		t.Errorf("advisories (-want +got):\n%s", diff)
	}
	if doc.ID != "CVE-2024-1111" || doc.Modified.Year() != 2025 || doc.Unclear != 2 || doc.Example != "red_hat_enterprise_linux_9:foo-flatpak" {
		t.Errorf("%s of %s, %d unclear, such as %s", doc.ID, doc.Modified, doc.Unclear, doc.Example)
	}
	fixed, open := doc.Advisories[9], doc.Advisories[4]
	if fixed.URL != "https://example.com/errata/RHSA-2024:1" || open.URL != "https://example.com/security/cve/CVE-2024-1111" || open.Summary != "libfoo: heap overflow" || len(open.CVSS) != 1 {
		t.Errorf("%+v\n%+v", fixed, open)
	}
}

func TestSUSEVEX(t *testing.T) {
	doc := readCSAF(t, "testdata/csaf/suse-vex.json")
	want := []string{
		"SUSE:Linux Enterprise Server 15 SP5 libpcre1.rpm <8.39-8.3.1 medium SUSE final",
		"SUSE:Linux Enterprise Server 15 SP5 pcre will-not-fix medium SUSE final never",
		"SUSE:Linux Enterprise Server 15 SP5 pcre.rpm will-not-fix medium SUSE final never",
		"openSUSE:Leap 15.5 openssl-1_1 not-affected",
		"openSUSE:Leap 15.5 openssl-1_1.rpm not-affected",
	}
	if diff := cmp.Diff(want, spell(doc)); diff != "" {
		t.Errorf("advisories (-want +got):\n%s", diff)
	}
	if a := doc.Advisories[0]; a.Summary != "A parser reads too much." || a.URL != "https://example.com/security/cve/CVE-2024-2222/" || doc.Unclear != 0 {
		t.Errorf("%+v, %d unclear", a, doc.Unclear)
	}
}

// TestSharedCSAF reads documents of vendors.
func TestSharedCSAF(t *testing.T) {
	dir := sharedtest.Dir(t, "data", "formats", "csaf")
	for name, want := range map[string]struct {
		id      string
		n       int
		unclear int
		some    string
	}{
		"redhat-vex-cve-2021-0084.json": {"CVE-2021-0084", 16, 0, "Red Hat:enterprise_linux:9 kernel not-affected"},
		// OpenShift alone, an architecture of sources alone, RHEL 7.6 of special contracts alone.
		"redhat-vex-cve-2024-24786-simple.json": {"CVE-2024-24786", 0, 0, ""},
		"rhsa-2024_6163.json":                   {"RHSA-2024:6163", 0, 0, ""},
		"rhsa-2022-0011.json":                   {"RHSA-2022:0011", 0, 0, ""},
		"vex-csaf.json":                         {"2022-EVD-UC-01-A-001", 0, 0, ""},
		"vex-csaf-relationships.json":           {"fcf5bd33-41c3-45f9-885a-c2ee812f49c9", 0, 0, ""},
	} {
		doc := readCSAF(t, filepath.Join(dir, name))
		lines := spell(doc)
		if doc.ID != want.id || len(lines) != want.n || doc.Unclear != want.unclear || want.some != "" && !strings.Contains(strings.Join(lines, "\n"), want.some) {
			t.Errorf("%s: %s, %d unclear (%s)\n%s", name, doc.ID, doc.Unclear, doc.Example, strings.Join(lines, "\n"))
		}
	}
}

func TestCSAFThatIsNone(t *testing.T) {
	frame := `{"document": {"tracking": {"id": "CVE-1", "status": "final", "current_release_date": "2024-05-01T10:00:00Z"}}, `
	for name, raw := range map[string]string{
		"no JSON": "x", "nothing": "{}", "no date": `{"document": {"tracking": {"id": "CVE-1"}}}`, "many parts": frame + `"x": [` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"deep": frame + `"product_tree": {"branches": ` + strings.Repeat(`[{"branches": `, 40) + "[]" + strings.Repeat("}]", 40) + `}}`,
	} {
		if _, err := advisory.FromCSAF([]byte(raw)); !errors.Is(err, advisory.ErrBadRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string]string{
		"deleted":  `{"document": {"tracking": {"id": "CVE-1", "status": "deleted", "current_release_date": "2024-05-01T10:00:00Z"}}}`,
		"rejected": `{"document": {"notes": [{"category": "description", "text": "** REJECT ** no"}], "tracking": {"id": "CVE-1", "current_release_date": "2024-05-01T10:00:00Z"}}}`,
		"circle":   frame + `"product_tree": {"relationships": [{"full_product_name": {"product_id": "a"}, "product_reference": "a", "relates_to_product_reference": "a"}]}, "vulnerabilities": [null, {"cve": "CVE-1", "product_status": {"fixed": ["a"]}}]}`,
	} {
		if doc, err := advisory.FromCSAF([]byte(raw)); err != nil || len(doc.Advisories) > 0 || doc.ID != "CVE-1" {
			t.Errorf("%s: %+v, %v", name, doc, err)
		}
	}
}

func BenchmarkFromCSAF(b *testing.B) {
	raw, err := os.ReadFile("testdata/csaf/redhat-vex.json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := advisory.FromCSAF(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzFromCSAF: whatever comes, what goes into the index can be written and
// looked up.
func FuzzFromCSAF(f *testing.F) {
	paths, _ := filepath.Glob("testdata/csaf/*.json")
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := advisory.FromCSAF(raw)
		if err != nil {
			if !errors.Is(err, advisory.ErrBadRecord) {
				t.Fatal(err)
			}
			return
		}
		b, err := advisory.NewBuilder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer b.Abort()
		for _, a := range doc.Advisories {
			if err := b.Add(a); err != nil || a.ID != doc.ID || len(a.Ranges) != 1 {
				t.Fatalf("%+v: %v", a, err)
			}
		}
	})
}
