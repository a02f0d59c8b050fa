package secret_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/secret"
)

// token joins the parts of a made-up credential, so that no scanner takes this
// file for one that holds some.
func token(parts ...string) string { return strings.Join(parts, "") }

var (
	github = token("gh", "p_", "16C7e42F292c6912E7710c838347Ae178B4a")
	slack  = token("xo", "xb-", "123456789012-123456789012-aBcDeFgHiJkLmNoPqRsTuVwX")
	pem    = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEAr3k9Zp0QmV7s2Xw8LhT4uYc1NdGf6JbEoRaSiWxPqUzHvKlM\n", 24) + "-----END RSA " + "PRIVATE KEY-----\n"
)

func scan(s *secret.Scanner, path string, chunks ...string) []secret.Finding {
	st := s.Stream(path)
	for _, c := range chunks {
		st.Write([]byte(c))
	}
	return st.Close()
}

func TestFindings(t *testing.T) {
	s := scanner(t)
	for _, test := range []struct {
		name, path, text string
		want             []string // "rule line confidence"
	}{
		{"nothing", "a", "no secret here, nor a token: of any kind\n", nil},
		{"empty", "a", "", nil},
		{"on the third line", "a", "one\ntwo\nexport T=" + github + "\n", []string{"github-pat 3 high"}},
		{"at the very end", "a", "T=" + github, []string{"github-pat 1 high"}},
		{"a private key", "tls.key", "x\n" + pem, []string{"private-key 2 high"}},
		{"two of one kind", "a", "A=" + github + "\nB=" + token("gh", "p_", "26C7e42F292c6912E7710c838347Ae178B4b") + "\n", []string{"github-pat 1 high", "github-pat 2 high"}},
		{"the same twice", "a", github + "\n" + github + "\n", []string{"github-pat 1 high", "github-pat 2 high"}},
		{"far into a long line", "a", strings.Repeat("x;", 100_000) + " " + github + " ", []string{"github-pat 1 high"}},
		{"excepted in the text", "a", github + " // gitleaks:allow\n", nil},
		{"a path that gitleaks leaves out", "app/node_modules/x/a.js", github, nil},
		{"a path that one rule is about", "home/.netrc", "machine example.org login me password 7x9kQ2mP\n", []string{"netrc-password 1 high"}},
		{"the same at another path", "home/notes", "machine example.org login me password 7x9kQ2mP\n", nil},
		{"a password in an address", "a", "url: postgres://app:7x9kQ2mPz8@db:5432/x\n", []string{"url-password 1 high"}},
		{"a long one, escaped", "a", "url: postgres://app:" + strings.Repeat("%7A%9f%2E", 28) + "@db:5432/x\n", []string{"url-password 1 high"}},
		{"a placeholder in an address", "a", "url: postgres://user:password@db:5432/x\n", []string{"url-password 1 low"}},
		{"a variable in an address", "a", "url: postgres://user:${PASSWORD}@db:5432/x\n", nil},
		{"no password in an address", "a", "see https://example.org/a:b/c@d and mailto:x@example.org\n", nil},
		{"registry login", "config.json", `{"auths":{"r":{"auth":"cm9ib3Q6czNjcjN0cGFzcw=="}}}`, []string{"docker-config-auth 1 high"}},
		{"auth of another kind", "config.json", `{"auth":"bearer token of sorts"}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, f := range scan(s, test.path, test.text) {
				got = append(got, f.Rule+" "+string(rune('0'+f.Line))+" "+f.Confidence)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestNothingIsShown: a finding does not hold the secret.
func TestNothingIsShown(t *testing.T) {
	for _, secretText := range []string{github, slack} {
		for _, f := range scan(scanner(t), "a", "T="+secretText) {
			if len(f.Redacted) > len("ghp_...") || strings.Contains(f.Fingerprint, secretText) {
				t.Errorf("%+v", f)
			}
		}
	}
}

// long is text with secrets in it, at borders of blocks too.
func long() string {
	random := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for i := range 40 {
		for range 200 + random.IntN(300) {
			b.WriteString("func call(key string) error { return fmt.Errorf(\"token: %w\", err) }\n")
		}
		switch i % 3 {
		case 0:
			b.WriteString("T=" + github + "\n")
		case 1:
			b.WriteString(pem)
		default:
			b.WriteString("slack = \"" + slack + "\"\n")
		}
	}
	return b.String()
}

// TestChunks: however the text comes, the findings are the same.
func TestChunks(t *testing.T) {
	s, text := scanner(t), long()
	want := scan(s, "a", text)
	if len(want) < 40 {
		t.Fatalf("%d findings", len(want))
	}
	random := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{1, 7, 4096, 64 << 10, 100_000} {
		var chunks []string
		for rest := text; rest != ""; {
			n := min(len(rest), 1+random.IntN(size))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if diff := cmp.Diff(want, scan(s, "a", chunks...)); diff != "" {
			t.Errorf("chunks of up to %d bytes:\n%s", size, diff)
		}
	}
}
