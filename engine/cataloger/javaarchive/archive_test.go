package javaarchive_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger/javaarchive"
)

// file is a member of an archive of the test's making.
type file struct{ name, body string }

func jar(files ...file) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		m, err := w.Create(f.name)
		if err == nil {
			_, err = m.Write([]byte(f.body))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func pom(group, artifact, version string) string {
	return fmt.Sprintf("#Generated\n#date\nversion=%s\r\ngroupId = %s\nartifactId:%s\n", version, group, artifact)
}

func manifest(lines ...string) file {
	return file{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\nName: x\r\nImplementation-Version: 9\r\n"}
}

func told(r javaarchive.Result) []string {
	list := []string{}
	for _, c := range r.Components {
		line := c.Group + ":" + c.Artifact + " " + c.Version
		if c.Inner != "" {
			line += " in " + c.Inner
		}
		if c.ByName {
			line += " by name"
		}
		list = append(list, line)
	}
	slices.Sort(list)
	for _, p := range r.Problems {
		list = append(list, "problem "+p.Inner)
	}
	return list
}

func read(t testing.TB, name, body string, limits javaarchive.Limits) javaarchive.Result {
	t.Helper()
	r, err := javaarchive.Read(strings.NewReader(body), int64(len(body)), name, limits)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	const place = "META-INF/maven/g/a/pom.properties"
	lib := jar(file{"META-INF/maven/g/b/pom.properties", pom("g", "b", "2")})
	for _, test := range []struct {
		name, path, body string
		want             []string
	}{
		{"pom.properties", "lib/a-1.jar", jar(file{place, pom("g", "a", "1")}, manifest("Implementation-Version: 1")), []string{"g:a 1 in " + place}},
		{"shaded", "all.jar", jar(file{place, pom("g", "a", "1")}, file{"x/pom.properties", pom("h", "c", "3")}), []string{"g:a 1 in " + place, "h:c 3 in x/pom.properties"}},
		{"renamed", "app.jar", jar(file{place, pom("g", "a", "1")}, manifest("Implementation-Title: Other", "Implementation-Version: 7")), []string{"g:a 1 in " + place}},
		{"placeholder version", "a-1.jar", jar(file{place, pom("g", "a", "${v}")}), []string{":a 1 by name"}},
		{"nested", "app.war", jar(file{"WEB-INF/lib/b-2.jar", lib}), []string{"g:b 2 in WEB-INF/lib/b-2.jar!/META-INF/maven/g/b/pom.properties"}},
		{"file name and table", "log4j-core-2.14.1.jar", jar(file{"x.class", ""}), []string{"org.apache.logging.log4j:log4j-core 2.14.1 by name"}},
		{"file name with a qualifier", "guava-31.1-jre.jar", jar(file{"x.class", ""}), []string{"com.google.guava:guava 31.1-jre by name"}},
		{"file name with a classifier", "netty-codec-4.1.77.Final-sources.jar", jar(file{"x.class", ""}), []string{"io.netty:netty-codec 4.1.77.Final by name"}},
		{"snapshot", "a-1.0-SNAPSHOT.jar", jar(file{"x.class", ""}), []string{":a 1.0-SNAPSHOT by name"}},
		{"no version anywhere", "app.jar", jar(file{"x.class", ""}), []string{}},
		{"manifest alone", "app.jar", jar(manifest("Implementation-Title: org.example.app", "Implementation-Version: 1.2", "Implementation-Vendor-Id: org.example")), []string{"org.example:app 1.2"}},
		{"bundle", "org.eclipse.jetty.util_9.4.jar", jar(manifest("Bundle-SymbolicName: org.eclipse.jetty.util;singleton:=true", "Bundle-Version: 9.4.1")), []string{":org.eclipse.jetty.util_9.4 9.4.1"}},
		{"folded manifest line", "app.jar", jar(manifest("Implementation-Vers", " ion: 1.2")), []string{}},
		{"folded value", "app.jar", jar(manifest("Implementation-Version: 1.", " 2")), []string{":app 1.2"}},
		{"a nested archive that is none", "a-1.jar", jar(file{"b.jar", "no zip"}), []string{":a 1 by name", "problem b.jar"}},
		{"empty", "a-1.jar", jar(), []string{":a 1 by name"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, told(read(t, test.path, test.body, javaarchive.DefaultLimits))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLimits: what is cut short is told, and what was read until then is kept.
func TestLimits(t *testing.T) {
	deep := jar(file{"pom.properties", pom("g", "deep", "1")})
	for range 4 {
		deep = jar(file{"in.jar", deep})
	}
	many := jar(file{"a/pom.properties", pom("g", "a", "1")}, file{"b/pom.properties", pom("g", "b", "1")}, file{"c/pom.properties", pom("g", "c", "1")})
	large := jar(file{"pom.properties", pom("g", "a", "1")}, file{"in.jar", jar(file{"x", strings.Repeat("\x00", 5<<20)}, file{"y", string(make([]byte, 1<<20))})})
	for _, test := range []struct {
		name, body string
		set        func(*javaarchive.Limits)
		want       []string
	}{
		{"depth", deep, func(l *javaarchive.Limits) { l.Depth = 3 }, []string{"problem in.jar!/in.jar!/in.jar"}},
		{"deep enough", deep, func(l *javaarchive.Limits) { l.Depth = 5 }, []string{"g:deep 1 in in.jar!/in.jar!/in.jar!/in.jar!/pom.properties"}},
		{"entries", many, func(l *javaarchive.Limits) { l.Entries = 2 }, []string{"g:a 1 in a/pom.properties", "g:b 1 in b/pom.properties", "problem "}},
		{"components", many, func(l *javaarchive.Limits) { l.Components = 1 }, []string{"g:a 1 in a/pom.properties", "problem "}},
		{"nested size", large, func(l *javaarchive.Limits) { l.Nested = 100 }, []string{"g:a 1 in pom.properties", "problem in.jar"}},
		{"bytes inflated", large, func(l *javaarchive.Limits) { l.Inflated = 100 }, []string{"g:a 1 in pom.properties", "problem in.jar"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits := javaarchive.DefaultLimits
			test.set(&limits)
			if diff := cmp.Diff(test.want, told(read(t, "app.jar", test.body, limits))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLargeNested: a nested archive that is too large for memory is read from a
// file.
func TestLargeNested(t *testing.T) {
	var noise strings.Builder
	for i := range 400_000 {
		fmt.Fprintf(&noise, "%d %x\n", i*7919, i*i)
	}
	inner := jar(file{"noise", noise.String()}, file{"noise2", noise.String()[1:]}, file{"noise3", noise.String()[2:]}, file{"pom.properties", pom("g", "a", "1")})
	if len(inner) < 4<<20 {
		t.Fatalf("only %d bytes", len(inner))
	}
	if got := told(read(t, "app.war", jar(file{"in.jar", inner}), javaarchive.DefaultLimits)); !slices.Equal(got, []string{"g:a 1 in in.jar!/pom.properties"}) {
		t.Error(got)
	}
}

// TestLongDirectory: the list of files of an archive is not believed to be short.
func TestLongDirectory(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	name := strings.Repeat("n", 60_000)
	for i := range 300 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i, name)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := javaarchive.Read(bytes.NewReader(b.Bytes()), int64(b.Len()), "a.jar", javaarchive.DefaultLimits); err == nil {
		t.Error("a list of 18 MB was read")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(jar(file{"META-INF/maven/g/a/pom.properties", pom("g", "a", "1")}, manifest("Implementation-Version: 1"))))
	f.Add([]byte(jar(file{"in.jar", jar(file{"x", "y"})})))
	limits := javaarchive.DefaultLimits
	limits.Inflated, limits.Nested = 1<<20, 1<<20
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := javaarchive.Read(bytes.NewReader(raw), int64(len(raw)), "log4j-core-2.14.1.jar", limits)
		for _, c := range r.Components {
			if err != nil || c.Artifact == "" || c.Version == "" {
				t.Errorf("%v %+v", err, c)
			}
		}
	})
}
