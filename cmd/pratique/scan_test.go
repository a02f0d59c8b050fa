package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/sharedtest"
)

// document is the part of `scan --format json` that is compared.
type document struct {
	Platform string
	Packages []struct{ Name, Version, Type string }
	Findings []finding
	Gaps     []struct{ Kind, Code, Detail string }
	Verdict  struct {
		Action string
		Passed bool
	}
}

type finding struct {
	ID      string
	Aliases []string
	Package string
	Version string
	Fixed   string
}

// truth is a truth file of the corpus.
type truth struct {
	Platforms map[string]struct {
		Findings []trueFinding
		OS       []trueFinding `json:"findings_os"`
		Npm      []trueFinding `json:"findings_npm"`
	}
}

type trueFinding struct {
	ID, Package, Version string
	Fixed                *string
}

// TestScanFindsTheTruth holds `scan` to the corpus: every finding, none
// invented. One finding may stand for several records of one vulnerability.
func TestScanFindsTheTruth(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	data := synced(t)
	for _, name := range []string{
		"alpine-3.8", "alpine-3.12", "alpine-3.20", "alpine-3.20-multiarch", "node-app", "go-app", "python-site", "debian12-distroless", "debian12-large-db",
		"almalinux-8.8-micro", "almalinux-9.0-micro", "rpm-bdb-libuuid", "rpm-ndb-sle15", "rpm-sqlite-mariner", "java-app",
	} {
		t.Run(name, func(t *testing.T) {
			var want truth
			readJSON(t, filepath.Join(corpus, name+".truth.json"), &want)
			documents, _ := scanJSON(t, data, "oci:"+filepath.Join(corpus, name))
			for _, doc := range documents {
				arch := strings.Split(doc.Platform, "/")[1]
				compareFindings(t, want, arch, doc)
			}
			if len(documents) != len(want.Platforms) {
				t.Errorf("%d platforms, want %d", len(documents), len(want.Platforms))
			}
		})
	}
}

func compareFindings(t *testing.T, want truth, arch string, doc document) {
	t.Helper()
	met := map[int]bool{}
	platform := want.Platforms[arch]
	findings := slices.Concat(platform.Findings, platform.OS, platform.Npm)
	for _, w := range findings {
		i := slices.IndexFunc(doc.Findings, func(f finding) bool {
			return f.Package == w.Package && f.Version == w.Version && (f.ID == w.ID || slices.Contains(f.Aliases, w.ID))
		})
		if i < 0 {
			t.Errorf("%s: missing %s of %s %s", arch, w.ID, w.Package, w.Version)
			continue
		}
		met[i] = true
		if (w.Fixed == nil) != (doc.Findings[i].Fixed == "") && len(doc.Findings[i].Aliases) < 2 {
			t.Errorf("%s: %s of %s: fixed in %q", arch, w.ID, w.Package, doc.Findings[i].Fixed)
		}
	}
	for i, f := range doc.Findings {
		if !met[i] {
			t.Errorf("%s: invented %s of %s %s", arch, f.ID, f.Package, f.Version)
		}
	}
	t.Logf("%s: %d findings for %d records of the truth", arch, len(doc.Findings), len(findings))
}

// TestScanTellsSecretsAndSettings: what is planted in the image of the corpus is
// told, by the program itself, and no secret is shown; nothing is found in the
// look-alikes.
func TestScanTellsSecretsAndSettings(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	data := synced(t)
	out, _, _ := pratique(t, "scan", "oci:"+filepath.Join(corpus, "secrets-planted"), "--tag", "registry.example/planted:latest", "--format", "json", "--set", "data_dir="+data)
	var got struct {
		Secrets []struct {
			Kind, Path, Where, Name string
			Line, Layer, Index      int
			Deleted                 bool
		}
		Misconfigurations []struct{ Rule, Path string }
	}
	unmarshal(t, out, &got)
	var want struct {
		Secrets []struct {
			Kind, Path, Where, Name string
			Line, Layer, Index      int
			DeletedIn               int `json:"deleted_in_layer"`
		}
	}
	readJSON(t, filepath.Join(corpus, "secrets-planted.truth.json"), &want)
	for _, w := range want.Secrets {
		met := false
		for _, s := range got.Secrets {
			met = met || s.Kind == w.Kind && s.Path == strings.TrimPrefix(w.Path, "/") && s.Line == max(w.Line, 1) && s.Name == w.Name && s.Index == w.Index &&
				(w.Where == "" || s.Where == w.Where) && (w.Where != "" || s.Layer == w.Layer) && s.Deleted == (w.DeletedIn > 0)
		}
		if !met {
			t.Errorf("not told: %+v", w)
		}
	}
	told := map[string]bool{}
	for _, m := range got.Misconfigurations {
		told[strings.TrimSpace(m.Rule+" "+m.Path)] = true
	}
	for _, rule := range []string{
		"root-user", "no-healthcheck", "exposed-ssh", "sshd /usr/sbin/sshd", "docker-socket /var/run/docker.sock", "secret-in-env", "debug-enabled",
		"setuid-file usr/bin/su", "setgid-file usr/bin/wall", "strong-file-capabilities usr/bin/netd", "world-writable-directory var/www",
		"empty-password etc/passwd", "empty-password etc/shadow", "second-root etc/passwd", "readable-shadow etc/shadow", "sudo-nopasswd etc/sudoers",
		"pipe-to-shell", "add-from-http", "secret-deleted app/tls.key", "secret-in-history", "latest-tag",
	} {
		if !told[rule] {
			t.Errorf("not told: %s of %v", rule, told)
		}
	}
	for _, format := range []string{"json", "table"} {
		out, errOut, _ := pratique(t, "scan", "oci:"+filepath.Join(corpus, "secrets-planted"), "--format", format, "--set", "data_dir="+data)
		for _, shape := range []string{"ghp_", "ghs_", "sk_live_", "AKIA", "xoxb-", "glpat-"} {
			for _, text := range []string{out, errOut} {
				if i := strings.Index(text, shape); i >= 0 && !strings.HasPrefix(text[i+len(shape):], "...") {
					t.Errorf("%s shows %.30q", format, text[i:])
				}
			}
		}
	}
	out, _, _ = pratique(t, "scan", "oci:"+filepath.Join(corpus, "secrets-lookalikes"), "--format", "json", "--set", "data_dir="+data)
	if strings.Contains(out, `"confidence": "high"`) || strings.Contains(out, `"severity": "high"`) {
		t.Errorf("false alarm: %s", out)
	}
}

// TestScanExitCodes: 0 passed, 1 stop or not understood, 2 it did not work.
func TestScanExitCodes(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	data := synced(t)
	for name, want := range map[string]int{
		"oci:" + filepath.Join(corpus, "alpine-3.8"): 0, "oci:" + filepath.Join(corpus, "alpine-3.20"): 1,
		"oci:" + filepath.Join(corpus, "almalinux-9.0-micro"): 1, "oci:" + filepath.Join(corpus, "no-such-image"): 2,
		"oci-archive:" + filepath.Join(corpus, "README.md"): 2,
	} {
		out, errOut, code := pratique(t, "scan", name, "--set", "data_dir="+data)
		if code != want {
			t.Errorf("%s: exit %d, want %d\n%s%s", name, code, want, out, errOut)
		}
	}
	if _, errOut, code := pratique(t, "scan", "oci:"+filepath.Join(corpus, "alpine-3.8"), "--set", "data_dir="+t.TempDir()); code != 2 || !strings.Contains(errOut, "feeds sync") {
		t.Errorf("without data: exit %d %s", code, errOut)
	}
}

func scanJSON(t *testing.T, data, image string) ([]document, int) {
	t.Helper()
	out, errOut, code := pratique(t, "scan", image, "--format", "json", "--set", "data_dir="+data)
	if code == 2 {
		t.Fatalf("scan: exit %d: %s", code, errOut)
	}
	var documents []document
	if strings.HasPrefix(out, "[") {
		unmarshal(t, out, &documents)
	} else {
		documents = make([]document, 1)
		unmarshal(t, out, &documents[0])
	}
	return documents, code
}

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v\n%.400s", err, text)
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unmarshal(t, string(raw), into)
}
