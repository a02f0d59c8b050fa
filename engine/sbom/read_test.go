package sbom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/sbom"
	"github.com/pratique/pratique/internal/sharedtest"
)

func TestRead(t *testing.T) {
	a := sbom.Package{Name: "a", Version: "1", PURL: "pkg:npm/a@1"}
	for _, test := range []struct {
		name, text, format string
		want               []sbom.Package
	}{
		{"CycloneDX", `{"bomFormat":"CycloneDX","components":[{"type":"library","name":"a","version":"1","purl":"pkg:npm/a@1"}]}`, "CycloneDX", []sbom.Package{a}},
		{"format after the components", `{"components":[{"name":"a","version":"1","purl":"pkg:npm/a@1"}],"bomFormat":"CycloneDX"}`, "CycloneDX", []sbom.Package{a}},
		{"components in components", `{"bomFormat":"CycloneDX","components":[{"name":"b","group":"g","components":[{"name":"a","version":"1","purl":"pkg:npm/a@1"}]}]}`, "CycloneDX", []sbom.Package{a, {Name: "g/b"}}},
		{"no packages", `{"bomFormat":"CycloneDX","components":[{"type":"operating-system","name":"os"},{"type":"file","name":"f"},{"type":"container","name":"c"},{}]}`, "CycloneDX", nil},
		{"without components", `{"bomFormat":"CycloneDX","components":null}`, "CycloneDX", nil},
		{"a version that is no text", `{"bomFormat":"CycloneDX","components":[{"name":"b","version":1}]}`, "CycloneDX", []sbom.Package{{Name: "b"}}},
		{"XML", `<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.4"><metadata><component type="container"><name>image</name></component></metadata>
			<components><component type="library"><group>g</group><name>b</name><components><component><name> a </name><version>1</version><purl>pkg:npm/a@1</purl></component></components></component></components></bom>`,
			"CycloneDX", []sbom.Package{a, {Name: "g/b"}}},
		{"XML, names elsewhere", `<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components><component><name>b</name><licenses><license><name>MIT</name></license></licenses></component></components><services><component><name>x</name></component></services></bom>`,
			"CycloneDX", []sbom.Package{{Name: "b"}}},
		{"SPDX", `{"spdxVersion":"SPDX-2.2","packages":[{"name":"image","primaryPackagePurpose":"CONTAINER"},{"name":"image","versionInfo":"sha256:0"},
			{"name":"a","versionInfo":"1","externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"cpe"},{"referenceType":"purl","referenceLocator":"pkg:npm/a@1"}]}]}`, "SPDX", []sbom.Package{a}},
		{"SPDX, tags", "\xef\xbb\xbfSPDXVersion: SPDX-2.3\nPackageName: image\nPrimaryPackagePurpose: CONTAINER\nPackageComment: <text>one\nPackageName: no\n</text>\nPackageName: a\nPackageVersion: 1\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\n", "SPDX", []sbom.Package{a}},
		{"Syft", `{"artifacts":[{"name":"a","version":"1","purl":"pkg:npm/a@1","locations":[{"path":"/x"}]}]}`, "Syft", []sbom.Package{a}},
		{"attestation", `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":{"spdxVersion":"SPDX-2.3","packages":[{"name":"b"}]}}`, "SPDX", []sbom.Package{{Name: "b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, err := sbom.Read(strings.NewReader(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&sbom.Document{Format: test.format, Packages: test.want}, doc); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	for _, text := range []string{
		"", "{}", "[]", "nonsense", "<xml/>x", `<bom/>`, `<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components>`, `{"bomFormat":"CycloneDX","components":1}`, `{"bomFormat":"CycloneDX"`,
		`{"bomFormat":"CycloneDX"}{}`, `{"spdxVersion":"SPDX-9.9"}`, `{"spdxVersion":"SPDX-3.0"}`, `{"payloadType":"x"}`, `{"artifacts":{}}`, `{"bomFormat":` + strings.Repeat("[", 100_000),
		"SPDXVersion: SPDX-1.2\nPackageName: a\n", "# nothing",
	} {
		if doc, err := sbom.Read(strings.NewReader(text)); !errors.Is(err, sbom.ErrFormat) {
			t.Errorf("%.40q: %+v %v", text, doc, err)
		}
	}
	broken := errors.New("broken")
	if _, err := sbom.Read(errorReader{broken}); !errors.Is(err, broken) {
		t.Errorf("reader that breaks: %v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// TestTooLarge: a bill that costs more than it is worth is refused, at no great
// cost.
func TestTooLarge(t *testing.T) {
	const xml = `<bom xmlns="http://cyclonedx.org/schema/bom/1.4">`
	for _, test := range []struct{ name, text string }{
		{"packages", `{"bomFormat":"CycloneDX","components":[` + strings.Repeat(`{"name":"a"},`, 300_000) + `{}]}`},
		{"nesting", `{"bomFormat":"CycloneDX","components":` + strings.Repeat(`[{"components":`, 1000) + "[]" + strings.Repeat("}]", 1000) + "}"},
		{"envelopes", strings.Repeat(`{"predicate":`, 1000) + "{}" + strings.Repeat("}", 1000)},
		{"name", `{"bomFormat":"CycloneDX","components":[{"name":"` + strings.Repeat("a", 10_000) + `"}]}`},
		{"XML, nesting", xml + strings.Repeat("<a>", 1000)},
		{"XML, name", xml + "<components><component><name>" + strings.Repeat("a", 10_000)},
		{"XML, size", xml + strings.Repeat("<a></a>", 3<<20)},
		{"tags, line", "SPDXVersion: " + strings.Repeat("a", 2<<20)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := sbom.Read(strings.NewReader(test.text)); !errors.Is(err, sbom.ErrTooLarge) {
				t.Errorf("%v", err)
			}
		})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	empty := `{"bomFormat":"CycloneDX","components":[` + strings.Repeat("{},", 300_000) + `{}]}`
	doc, err := sbom.Read(strings.NewReader(empty))
	runtime.ReadMemStats(&after)
	if err != nil || len(doc.Packages) > 0 || after.TotalAlloc-before.TotalAlloc > 100<<20 {
		t.Errorf("nothing, 300,000 times: %v, %d MiB", err, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}

// TestForeign reads bills of other programs.
func TestForeign(t *testing.T) {
	dir := sharedtest.Dir(t, "data", "formats", "sbom")
	for file, want := range map[string]struct {
		format string
		count  int
	}{"cyclonedx-alpine.xml": {"CycloneDX", 15}, "spdx-alpine-3.10.json": {"SPDX", 3}, "syft-alpine.json": {"Syft", 14}} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := sbom.Read(bytes.NewReader(raw))
		if err != nil || doc.Format != want.format || len(doc.Packages) != want.count || doc.Packages[0].PURL == "" {
			t.Errorf("%s: %+v %v", file, doc, err)
		}
	}
}

// TestReferrers: the SBOMs that hang on an image of the corpus, one of which
// lies.
func TestReferrers(t *testing.T) {
	dir := filepath.Join(sharedtest.Dir(t, "corpus", "artifacts"), "referrers", "blobs", "sha256")
	im := &inventory.Image{Packages: []inventory.Package{{Name: "libcrypto3", Version: "3.3.2-r0", Type: "apk", PURL: "pkg:apk/alpine/libcrypto3@3.3.2-r0?arch=x86_64&distro=alpine-3.20.3"}}}
	for name, test := range map[string]struct {
		manifest string
		agrees   bool
	}{
		"spdx":      {"d6b5252d56e02516a350ba1ec87896651f55a712b3070e025f7bcf884cb0ee3e", true},
		"cyclonedx": {"69bc38ffd43d6772da399b64650849f66eff8b47e0c18a994b63092d9766854e", true},
		"lie":       {"13fc60c0eeddbaf6c875546cce59855c48fe5134bf8f3a63257b0c6e365277b6", false},
	} {
		var manifest struct{ Layers []struct{ Digest string } }
		raw, err := os.ReadFile(filepath.Join(dir, test.manifest))
		if err == nil {
			err = json.Unmarshal(raw, &manifest)
		}
		if err != nil || len(manifest.Layers) != 1 {
			t.Fatal(name, err)
		}
		bill, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(manifest.Layers[0].Digest, "sha256:")))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := sbom.Read(bytes.NewReader(bill))
		if err != nil {
			t.Fatal(name, err)
		}
		d := sbom.Compare(im, doc)
		if d.Agrees() != test.agrees || test.agrees && d.Same != 1 || !test.agrees && len(d.Versions) != 1 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	bill := []byte(`{"bomFormat":"CycloneDX","components":[` + strings.Repeat(`{"type":"library","name":"a","version":"1","purl":"pkg:npm/a@1","licenses":[{"license":{"id":"MIT"}}],"properties":[{"name":"x","value":"y"}]},`, 10_000) + `{}]}`)
	b.SetBytes(int64(len(bill)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sbom.Read(bytes.NewReader(bill)); err != nil {
			b.Fatal(err)
		}
	}
}
