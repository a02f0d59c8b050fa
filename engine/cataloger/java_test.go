package cataloger_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/sharedtest"
)

// jar makes an archive of names and contents in turn.
func jar(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		out, err := w.Create(files[i])
		if err == nil {
			_, err = io.WriteString(out, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// give hands a file's content to a cataloger that reads it in any order.
func give(c *cataloger.Cataloger, body string, out *cataloger.Result) {
	c.ReadAt(cataloger.File{ReaderAt: strings.NewReader(body), Size: int64(len(body))}, out)
}

func TestJava(t *testing.T) {
	described := jar(t, "META-INF/maven/g/a/pom.properties", "groupId=g\nartifactId=a\nversion=1\n")
	nested := jar(t, "WEB-INF/lib/a.jar", described, "WEB-INF/lib/log4j-core-2.14.1.jar", jar(t, "A.class", ""), "WEB-INF/lib/x.jar", jar(t, "A.class", ""))
	out := read(t, "app/my.war", nested)
	want := []inventory.Package{
		{Type: "java", Name: "g:a", Version: "1", Source: "g:a", SourceVersion: "1", Location: "app/my.war", Inner: "WEB-INF/lib/a.jar!/META-INF/maven/g/a/pom.properties"},
		{Type: "java", Name: "org.apache.logging.log4j:log4j-core", Version: "2.14.1", Source: "org.apache.logging.log4j:log4j-core", SourceVersion: "2.14.1",
			Location: "app/my.war", Inner: "WEB-INF/lib/log4j-core-2.14.1.jar", Evidence: "filename"},
	}
	if diff := cmp.Diff(want, out.Packages); diff != "" {
		t.Error(diff)
	}
	wantGap := []inventory.Gap{{Kind: inventory.Partial, Code: "java-coordinates", Path: "app/my.war",
		Detail: "archives with classes do not tell their group, name or version, so they cannot be looked up: 1, one is WEB-INF/lib/x.jar"}}
	if diff := cmp.Diff(wantGap, out.Gaps); diff != "" {
		t.Error(diff)
	}
	few := cataloger.NewResult("app/my.war", cataloger.Limits{Packages: 1})
	give(cataloger.ForPath(few.Path), nested, few)
	if diff := cmp.Diff([]string{"java g:a 1", "blind too-many-packages"}, told(few)); diff != "" {
		t.Error(diff)
	}
}

// TestZip: what stands in a zip archive decides, not its name.
func TestZip(t *testing.T) {
	described := []string{"META-INF/maven/g/a/pom.properties", "groupId=g\nartifactId=a\nversion=1\n", "A.class", ""}
	deep := jar(t, described...)
	for range 17 {
		deep = jar(t, "x.jar", deep)
	}
	for _, test := range []struct {
		name, body string
		want       []string
	}{
		{"app", jar(t, described...), []string{"java g:a 1"}},
		{"gson-2.8.0", jar(t, "META-INF/MANIFEST.MF", "Implementation-Version: 2.8.0\n", "A.class", ""), []string{"java com.google.code.gson:gson 2.8.0"}},
		{"gson-2.8.0.zip", jar(t, "x.txt", ""), []string{}},
		{"requests-2.28.1-py3-none-any.whl", jar(t, "requests/a.py", ""), []string{}},
		{"app.rar", jar(t, "a.jar", jar(t, described...)), []string{"java g:a 1"}},
		{"no Java", jar(t, "word/document.xml", "", "x.class", ""), []string{}},
		{"archives too deep", deep, []string{"partial archive-too-deep"}},
		{"cut off", jar(t, described...)[:100], []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, told(read(t, "srv/"+test.name, test.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJavaNames(t *testing.T) {
	for _, name := range []string{"a.jar", "a.WAR", "b/a.ear", "a.par", "a.sar", "a.nar", "a.jpi", "a.hpi", "a.lpkg", "a.kar"} {
		if c := cataloger.ForPath(name); c == nil || c.Name != "java" {
			t.Errorf("%s is for %v", name, c)
		}
	}
	for _, name := range []string{".jar", "a.jar/x", "a.zip", "a.jar.md5"} {
		if c := cataloger.ForPath(name); c != nil {
			t.Errorf("%s is for %s", name, c.Name)
		}
	}
}

func TestJavaRuntime(t *testing.T) {
	for _, test := range []struct {
		name, path, body string
		want             []string
	}{
		{"OpenJDK", "usr/lib/jvm/x/release", "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"17.0.9\"\n", []string{"openjdk 17.0.9 cpe:2.3:a:oracle:openjdk:17.0.9:*:*:*:*:*:*:*"}},
		{"OpenJDK 8", "opt/java/release", "JAVA_VERSION=\"1.8.0_392\"\n", []string{"openjdk 1.8.0_392 cpe:2.3:a:oracle:openjdk:8:update392:*:*:*:*:*:*"}},
		{"Oracle's 8", "opt/java/release", "JAVA_VERSION=\"1.8.0_392\"\nBUILD_TYPE=\"commercial\"\n", []string{"java 1.8.0_392 cpe:2.3:a:oracle:jdk:1.8.0:update392:*:*:*:*:*:*"}},
		{"GraalVM", "opt/java/release", "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.9\"\nGRAALVM_VERSION=\"22.3.0\"\n", []string{"openjdk 17.0.9 cpe:2.3:a:oracle:openjdk:17.0.9:*:*:*:*:*:*:*", "graalvm 22.3.0 "}},
		{"no version", "opt/java/release", "IMPLEMENTOR=\"x\"\nMODULES=\"x\"\n", []string{"gap java-release"}},
		{"another name", "opt/java/release.old", "JAVA_VERSION=\"17.0.9\"\n", nil},
		{"Erlang", "usr/lib/erlang/releases/25/OTP_VERSION", "25.2.3\n", []string{`erlang 25.2.3 cpe:2.3:a:erlang:erlang\/otp:25.2.3:*:*:*:*:*:*:*`}},
		{"patched Erlang", "usr/lib/erlang/releases/25/OTP_VERSION", "25.2.3**\n", []string{`erlang 25.2.3 cpe:2.3:a:erlang:erlang\/otp:25.2.3:*:*:*:*:*:*:*`}},
		{"broken Erlang", "usr/lib/erlang/releases/25/OTP_VERSION", "", []string{"gap erlang-version"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, products(read(t, test.path, test.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// products gives one line for each product and gap.
func products(r *cataloger.Result) []string {
	var lines []string
	for _, p := range r.Packages {
		lines = append(lines, p.Name+" "+p.Version+" "+p.CPE)
	}
	for _, g := range r.Gaps {
		lines = append(lines, "gap "+g.Code)
	}
	return lines
}

// TestJavaCorpus holds the reader to real archives and to hostile ones.
func TestJavaCorpus(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	var truth struct {
		Platforms map[string]struct {
			Components []struct{ Name, Version, Path string }
		}
	}
	raw, err := os.ReadFile(filepath.Join(corpus, "java-app.truth.json"))
	if err == nil {
		err = json.Unmarshal(raw, &truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	found, _ := archives(t, filepath.Join(corpus, "java-app"))
	for _, c := range truth.Platforms["amd64"].Components {
		if !slices.Contains(found, c.Name+" "+c.Version+" "+c.Path) {
			t.Errorf("not found: %+v", c)
		}
	}
	log4j := "org.apache.logging.log4j:log4j-core 2.14.1 "
	for name, want := range map[string]string{"jar-nested-2": log4j, "jar-nested-10": log4j, "jar-no-metadata": log4j, "zip-bomb-jar": "archive-too-large"} {
		found, gaps := archives(t, filepath.Join(corpus, "hostile", name))
		if !strings.Contains(strings.Join(append(found, gaps...), "\n"), want) {
			t.Errorf("%s: %q %q", name, found, gaps)
		}
	}
}

// archives reads the Java archives of an image and gives a line for each
// component, and the codes of the gaps.
func archives(t *testing.T, layout string) (found, gaps []string) {
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		raw, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		layer, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			continue // the manifest or the configuration
		}
		for in := tar.NewReader(layer); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			c := cataloger.ForPath(h.Name)
			if c == nil || c.Name != "java" {
				continue
			}
			body, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			out := cataloger.NewResult(h.Name, limits)
			give(c, string(body), out)
			for _, p := range out.Packages {
				found = append(found, p.Name+" "+p.Version+" "+p.Place())
			}
			for _, g := range out.Gaps {
				gaps = append(gaps, g.Code)
			}
		}
	}
	return found, gaps
}
