package secret_test

import (
	"cmp"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/report"

	"github.com/pratique/pratique/engine/secret"
	"github.com/pratique/pratique/internal/sharedtest"
)

// oracle compares with gitleaks' own engine, by gitleaks' own rules.
type oracle struct {
	detector *detect.Detector
	scanner  *secret.Scanner
}

func newOracle(t testing.TB) oracle {
	t.Helper()
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	return oracle{detector, scanner(t)}
}

// compare gives what only gitleaks finds and what only we find, as "rule secret",
// and how much gitleaks finds. A finding of the general rule gives way to one of
// our own rules about the same secret.
func (o oracle) compare(path, text string) (missed, extra []string, total int) {
	theirs := map[string]bool{}
	for _, f := range theirFindings(o.detector, path, text) {
		if f.RuleID != "pkcs12-file" { // about a name alone: left out
			theirs[f.RuleID+" "+f.Secret] = true
		}
	}
	ours := map[string]bool{}
	var particular []string // secrets that rules of our own tell of
	st := o.scanner.Stream(path)
	st.Write([]byte(text))
	for _, f := range secret.WithSecrets(st) {
		if _, known := o.detector.Config.Rules[f.Rule]; known {
			ours[f.Rule+" "+f.Secret] = true
		} else {
			particular = append(particular, f.Secret)
		}
	}
	for key := range theirs {
		guess, general := strings.CutPrefix(key, "generic-api-key ")
		outdone := general && slices.ContainsFunc(particular, func(text string) bool {
			return strings.Contains(text, guess) || strings.Contains(guess, text)
		})
		if !ours[key] && !outdone {
			missed = append(missed, key)
		}
	}
	for key := range ours {
		if !theirs[key] {
			extra = append(extra, key)
		}
	}
	return missed, extra, len(theirs)
}

// perRule is how many texts are made for each rule.
const perRule = 12

// TestEveryRule makes texts that each of gitleaks' expressions matches, and
// expects what gitleaks itself finds in them: alone, and at any place of a long
// file.
func TestEveryRule(t *testing.T) {
	o := newOracle(t)
	g := &generator{random: rand.New(rand.NewPCG(1, 2))}
	byID := func(a, b config.Rule) int { return cmp.Compare(a.RuleID, b.RuleID) }
	for _, r := range slices.SortedFunc(maps.Values(o.detector.Config.Rules), byID) {
		if r.Regex == nil {
			continue
		}
		t.Run(r.RuleID, func(t *testing.T) {
			total := 0
			for n := 0; n < perRule || total == 0 && n < 20*perRule; n++ {
				path, text := g.file(t, r)
				missed, extra, found := o.compare(path, text)
				if len(missed)+len(extra) > 0 {
					t.Errorf("in %s, %.200q:\nmissed %.200q\nextra %.200q", path, text, missed, extra)
				}
				total += found
				alone := secret.WithSecrets(write(o.scanner.Stream(path), text))
				deep := secret.WithSecrets(write(o.scanner.Stream(path), filler(g.random)+text))
				if !slices.Equal(alone, deep) {
					t.Errorf("%.200q\nalone %.200q\ndeep in a file %.200q", text, alone, deep)
				}
			}
			if total == 0 {
				t.Error("gitleaks finds nothing")
			}
		})
	}
}

// file makes one that a rule is about. Where the match holds no keyword, one
// stands elsewhere in the file.
func (g *generator) file(t *testing.T, r config.Rule) (path, text string) {
	t.Helper()
	path = "a"
	if r.Path != nil {
		path = g.text(t, r.Path.String())
	}
	text = "first line\n " + g.text(t, r.Regex.String()) + " \nlast line\n"
	has := func(word string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(word)) }
	if !slices.ContainsFunc(r.Keywords, has) {
		text = "about " + r.Keywords[0] + "\n" + text
	}
	return path, text
}

// filler is harmless text of one to some blocks.
func filler(random *rand.Rand) string {
	const line = "func call(name string) error { return fmt.Errorf(\"call %s: %w\", name, err) }\n"
	n := 30_000 + random.IntN(80_000)
	return strings.Repeat(line, n/len(line)) + strings.Repeat("-", n%len(line)) + "\n"
}

func write(st *secret.Stream, text string) *secret.Stream {
	st.Write([]byte(text))
	return st
}

// differences lists what one engine finds in the trees of TestTrees and the other
// does not, by path and "rule secret", and why.
var differences = map[string]string{}

// TestTrees compares over real text.
func TestTrees(t *testing.T) {
	for _, test := range []struct {
		name, dir string
		limit     int
	}{
		{"Go's sources", filepath.Join(goroot(t), "src"), 3 << 20},
		{"Go's tests", filepath.Join(goroot(t), "src", "crypto"), 3 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOracle(t)
			files, total := 0, 0
			for path, text := range tree(t, test.dir, test.limit) {
				missed, extra, found := o.compare(path, text)
				files, total = files+1, total+found
				for _, key := range append(missed, extra...) {
					if differences[path+" "+key] == "" {
						t.Errorf("%s: missed %.120q, extra %.120q", path, missed, extra)
					}
				}
			}
			t.Logf("%d files, %d findings of gitleaks", files, total)
		})
	}
}

// TestCorpusAsGitleaks compares over the made images.
func TestCorpusAsGitleaks(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	o := newOracle(t)
	total := 0
	for _, name := range []string{"secrets-planted", "secrets-lookalikes"} {
		im := openImage(t, filepath.Join(dir, name))
		for _, l := range im.layers {
			eachFile(t, l, func(path string, body []byte) {
				missed, extra, found := o.compare(path, string(body))
				if len(missed)+len(extra) > 0 {
					t.Errorf("%s: missed %.120q, extra %.120q", path, missed, extra)
				}
				total += found
			})
		}
		for _, text := range append(im.env, im.history...) {
			missed, extra, found := o.compare("", text)
			if len(missed)+len(extra) > 0 {
				t.Errorf("%.40q: missed %.120q, extra %.120q", text, missed, extra)
			}
			total += found
		}
	}
	t.Logf("%d findings of gitleaks", total)
}

// theirFindings gives what gitleaks finds in a file.
func theirFindings(detector *detect.Detector, path, text string) []report.Finding {
	//lint:ignore SA1019 version 8 takes no other type
	return detector.Detect(detect.Fragment{Raw: text, FilePath: path})
}

func goroot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// tree gives the text files below a folder by path, up to so many bytes; none
// where there is no such folder.
func tree(t testing.TB, root string, limit int) map[string]string {
	t.Helper()
	all := map[string]string{}
	total := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil || !secret.IsText(raw[:min(len(raw), 1024)]) || len(raw) > 1<<20 {
			return nil
		}
		if total += len(raw); total > limit {
			return fs.SkipAll
		}
		name, err := filepath.Rel(root, path)
		all[name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
