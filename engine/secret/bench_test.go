package secret_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/detect"
)

// BenchmarkScan: text in a second, ours and gitleaks' over the same files, of
// which gitleaks gets fewer.
func BenchmarkScan(b *testing.B) {
	s := scanner(b)
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name  string
		texts func(size int) map[string]string
	}{
		{"source", func(size int) map[string]string { return tree(b, filepath.Join(goroot(b), "src"), size) }},
		{"documents", func(size int) map[string]string { return tree(b, "/usr/share/doc", size) }},
		{"minified", func(size int) map[string]string { return map[string]string{"app.js": minified(size)} }},
		{"json", func(size int) map[string]string { return map[string]string{"data.json": records(size)} }},
	} {
		b.Run(kind.name+"/pratique", func(b *testing.B) {
			texts := kind.texts(32 << 20)
			b.SetBytes(sizeOf(texts))
			for b.Loop() {
				for path, text := range texts {
					write(s.Stream(path), text).Close()
				}
			}
		})
		b.Run(kind.name+"/gitleaks", func(b *testing.B) {
			texts := kind.texts(1 << 20)
			b.SetBytes(sizeOf(texts))
			for b.Loop() {
				for path, text := range texts {
					theirFindings(detector, path, text)
				}
			}
		})
	}
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			scanner(b)
		}
	})
}

func sizeOf(texts map[string]string) (n int64) {
	for _, text := range texts {
		n += int64(len(text))
	}
	return n
}

// minified is like a program of a browser: one long line, with the names that
// weak keywords are part of.
func minified(size int) string {
	random := rand.New(rand.NewPCG(1, 1))
	names := []string{"key", "token", "value", "children", "apiUrl", "access", "props", "length", "secretName", "password", "state", "onKeyDown", "keyCode"}
	var b strings.Builder
	for b.Len() < size {
		name := names[random.IntN(len(names))]
		fmt.Fprintf(&b, "function %c%c(e,t){var n=e.%s,r=t[%d];return n&&r?{%s:n,type:\"%s\"}:void 0===n.%s?r(n.map((function(e){return e.id}))):null}",
			'a'+random.IntN(26), 'a'+random.IntN(26), name, random.IntN(1000), name, names[random.IntN(len(names))], name)
	}
	return b.String()
}

// records is like an answer of a service.
func records(size int) string {
	random := rand.New(rand.NewPCG(2, 2))
	var b strings.Builder
	b.WriteString("[\n")
	for b.Len() < size {
		fmt.Fprintf(&b, "  {\"id\": %d, \"key\": \"item-%d\", \"digest\": \"sha256:%064x\", \"author\": \"someone\", \"url\": \"https://example.org/items/%d\", \"token_count\": %d},\n",
			random.IntN(1e6), random.IntN(1e6), random.Uint64(), random.IntN(1e6), random.IntN(1e4))
	}
	b.WriteString("  {}\n]\n")
	return b.String()
}
