package sbom_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pratique/pratique/engine/finding"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/sbom"
	"github.com/pratique/pratique/internal/sharedtest"
)

func sample() sbom.Input {
	layer := digest.FromString("layer")
	return sbom.Input{
		Name: "registry.example/team/app:1", Version: "1.2.3", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Image: &inventory.Image{
			Engine: 2, Manifest: digest.FromString("manifest"), Config: digest.FromString("config"), Platform: inventory.Platform{OS: "linux", Architecture: "amd64"},
			Distro: inventory.Distro{ID: "alpine", VersionID: "3.20.3", Name: "Alpine Linux v3.20"}, Layers: []digest.Digest{layer},
			Packages: []inventory.Package{
				{Name: "libssl3", Version: "3.3.2-r0", Type: "apk", Arch: "x86_64", Source: "openssl", SourceVersion: "3.3.2-r0", License: "ASL 2.0 and MIT", Location: "lib/apk/db/installed", PURL: "pkg:apk/alpine/libssl3@3.3.2-r0?arch=x86_64"},
				{Name: "lodash", Version: "4.17.15", Type: "npm", License: "MIT", Location: "app/node_modules/lodash/package.json", PURL: "pkg:npm/lodash@4.17.15"},
				{Name: "lodash", Version: "4.17.15", Type: "npm", License: "MIT", Location: "b/lodash/package.json", PURL: "pkg:npm/lodash@4.17.15"},
				{Name: "org.example:app", Version: "1", Type: "java", License: "Our own terms", Location: "app.jar", Inner: "META-INF/maven/x/pom.properties", PURL: "pkg:maven/org.example/app@1"},
				{Name: "nginx", Version: "1.25.3", Type: "binary", Location: "usr/sbin/nginx", Evidence: inventory.EvidenceText, CPE: "cpe:2.3:a:f5:nginx:1.25.3:*:*:*:*:*:*:*", PURL: "pkg:generic/nginx@1.25.3"},
			},
			Gaps: []inventory.Gap{{Kind: inventory.Partial, Code: "npm-manifest", Path: "x/package.json", Detail: "could not be read"}},
		},
		Findings: []finding.Finding{
			{ID: "GHSA-1", Aliases: []string{"CVE-2020-1"}, Package: "lodash", Version: "4.17.15", Type: "npm", Fixed: "4.17.21", Severity: finding.High, SeveritySource: "GHSA", Score: 7.2, CVSS: []string{"CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H"}, Feed: "npm", URL: "https://example.com/1", Summary: "Command injection", Published: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
			{ID: "ALBA-1", Class: "bugfix", Package: "libssl3", Version: "3.3.2-r0", Type: "apk"},
		},
	}
}

func write(t *testing.T, format string, in sbom.Input) []byte {
	t.Helper()
	var b bytes.Buffer
	out := map[string]func() error{"cyclonedx": func() error { return sbom.CycloneDX(&b, in) }, "spdx": func() error { return sbom.SPDX(&b, in) }}
	if err := out[format](); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSchemas holds what is written to the published schemas.
func TestSchemas(t *testing.T) {
	dir := sharedtest.Dir(t, "data", "schemas")
	for format, file := range map[string]string{"cyclonedx": "bom-1.6.schema.json", "spdx": "spdx-schema-2.3.json"} {
		c := jsonschema.NewCompiler()
		for name, url := range map[string]string{"spdx.schema.json": "http://cyclonedx.org/schema/spdx.schema.json", "jsf-0.82.schema.json": "http://cyclonedx.org/schema/jsf-0.82.schema.json", file: "http://x/" + file} {
			raw, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(raw)
			raw.Close()
			if err == nil {
				err = c.AddResource(url, doc)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		schema, err := c.Compile("http://x/" + file)
		if err != nil {
			t.Fatal(err)
		}
		empty := sample()
		empty.Image = &inventory.Image{Manifest: digest.FromString("m"), Config: digest.FromString("c")}
		empty.Findings = nil
		for name, in := range map[string]sbom.Input{"sample": sample(), "empty": empty} {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(write(t, format, in)))
			if err == nil {
				err = schema.Validate(doc)
			}
			if err != nil {
				t.Errorf("%s, %s: %v", format, name, err)
			}
		}
	}
}

var update = flag.Bool("update", false, "write testdata again")

// TestGolden holds what is written, byte for byte.
func TestGolden(t *testing.T) {
	for format, file := range map[string]string{"cyclonedx": "sample.cdx.json", "spdx": "sample.spdx.json"} {
		file = filepath.Join("testdata", file)
		got := write(t, format, sample())
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-update writes it again): %s", file, diff)
		}
	}
}

// TestRoundTrip: what is written is read back, and agrees with the image.
func TestRoundTrip(t *testing.T) {
	for _, format := range []string{"cyclonedx", "spdx"} {
		in := sample()
		raw := write(t, format, in)
		if !bytes.Equal(raw, write(t, format, in)) {
			t.Errorf("%s: the same input gives other bytes", format)
		}
		doc, err := sbom.Read(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if d := sbom.Compare(in.Image, doc); !d.Agrees() || d.Same != 4 {
			t.Errorf("%s: %+v", format, d)
		}
		for _, text := range []string{"npm-manifest", "app/node_modules/lodash/package.json", "app.jar!/META-INF/maven/x/pom.properties"} {
			if !bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s: does not tell of %s", format, text)
			}
		}
	}
	if raw := write(t, "cyclonedx", sample()); !bytes.Contains(raw, []byte("GHSA-1")) || bytes.Contains(raw, []byte("ALBA-1")) {
		t.Error("not the vulnerabilities, and them alone")
	}
}

// TestCompare: what a bill conceals, claims, and says otherwise.
func TestCompare(t *testing.T) {
	doc := &sbom.Document{Format: "SPDX", Packages: []sbom.Package{
		{Name: "libssl3", Version: "3.3.6-r0", PURL: "pkg:apk/alpine/libssl3@3.3.6-r0"}, {Name: "lodash", Version: "4.17.15"},
		{Name: "invented", Version: "1", PURL: "pkg:npm/invented@1"}, {Name: "nginx", Version: "1.25.3", PURL: "pkg:generic/nginx@1.25.3"},
	}}
	d := sbom.Compare(sample().Image, doc)
	names := func(all []sbom.Package) (list []string) {
		for _, p := range all {
			list = append(list, p.Name)
		}
		return list
	}
	if diff := cmp.Diff([]string{"org.example:app"}, names(d.OnlyImage)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"invented"}, names(d.OnlyBill)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]sbom.Change{{Name: "libssl3", Image: []string{"3.3.2-r0"}, Bill: []string{"3.3.6-r0"}}}, d.Versions); diff != "" || d.Same != 2 || d.Agrees() {
		t.Errorf("%s %+v", diff, d)
	}
}

func FuzzRead(f *testing.F) {
	var spdx, cyclone bytes.Buffer
	if err := sbom.SPDX(&spdx, sample()); err != nil {
		f.Fatal(err)
	}
	if err := sbom.CycloneDX(&cyclone, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(spdx.Bytes())
	f.Add(cyclone.Bytes())
	f.Add([]byte(`<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components><component type="library"><name>a</name></component></components></bom>`))
	f.Add([]byte("SPDXVersion: SPDX-2.3\nPackageName: a\nPackageVersion: 1\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\n"))
	f.Add([]byte(`{"predicate":{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","externalRefs":[{"referenceType":"purl","referenceLocator":"x"}]}]}}`))
	f.Add([]byte(`{"artifacts":[{"name":"a","version":"1","purl":"pkg:npm/a@1"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := sbom.Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		d := sbom.Compare(sample().Image, doc)
		if _, err := json.Marshal(d); err != nil {
			t.Error(err)
		}
	})
}
