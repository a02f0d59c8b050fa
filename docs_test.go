package pratique_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/policy/bundle"
)

// document is one Markdown file.
type document struct {
	path string // slash-separated, from the module root
	text string
}

// documents reads every Markdown file of the module.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := entry.Name(); entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "dist") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		raw, err := os.ReadFile(name)
		all = append(all, document{filepath.ToSlash(name), string(raw)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("%d documents found, there are more", len(all))
	}
	return all
}

var (
	fenced  = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	coded   = regexp.MustCompile("`[^`\n]*`")
	linked  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
)

// prose is the text without what is code.
func (d document) prose() string {
	return coded.ReplaceAllString(fenced.ReplaceAllString(d.text, ""), "")
}

// anchors are the fragments that lead to the headings.
func (d document) anchors() []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(d.text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				b.WriteRune(r)
			}
		}
		all = append(all, b.String())
	}
	return all
}

// TestLinks: every relative link leads to a file that is there, and to a
// heading of it.
func TestLinks(t *testing.T) {
	all := documents(t)
	for _, d := range all {
		for _, m := range linked.FindAllStringSubmatch(d.prose(), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %s: %v", d.path, m[1], err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			if why := dead(all, d, u); why != "" {
				t.Errorf("%s: link %s: %s", d.path, m[1], why)
			}
		}
	}
}

// dead tells why a relative link leads nowhere, or "".
func dead(all []document, from document, u *url.URL) string {
	target := from.path
	if u.Path != "" {
		target = filepath.ToSlash(filepath.Join(filepath.Dir(from.path), u.Path))
	}
	if _, err := os.Stat(target); err != nil {
		return "there is no such file"
	}
	if u.Fragment == "" {
		return ""
	}
	i := slices.IndexFunc(all, func(d document) bool { return d.path == target })
	if i < 0 || !slices.Contains(all[i].anchors(), u.Fragment) {
		return "there is no such heading"
	}
	return ""
}

// TestJSONExamples: what is shown as JSON is JSON, and a bundle is one that can
// be used without a warning.
func TestJSONExamples(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range fenced.FindAllStringSubmatchIndex(d.text, -1) {
			if d.text[m[2]:m[3]] != "json" {
				continue
			}
			at := fmt.Sprintf("%s:%d", d.path, 1+strings.Count(d.text[:m[0]], "\n"))
			raw := []byte(d.text[m[4]:m[5]])
			if !json.Valid(raw) {
				t.Errorf("%s: no JSON", at)
				continue
			}
			if !bytes.Contains(raw, []byte(`"mappings":`)) {
				continue
			}
			b, err := bundle.Parse(raw)
			if err != nil {
				t.Errorf("%s: %v", at, err)
			} else if len(b.Problems) > 0 {
				t.Errorf("%s: %v", at, b.Problems)
			}
		}
	}
}
