package secret_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/secret"
)

// FuzzStream: any text in any chunks gives what it gives as a whole.
func FuzzStream(f *testing.F) {
	s := scanner(f)
	f.Add([]byte("T="+github), uint64(3))
	f.Add([]byte(pem), uint64(1000))
	f.Add(bytes.Repeat([]byte("key=\xff"), 20_000), uint64(77))
	f.Add([]byte("facebook\n"+strings.Repeat(" ", 40_000)+"123456789012345|"+strings.Repeat("aB3-", 8)+"\n"), uint64(4))
	f.Add([]byte("curl -u\n\n\r\n me:\"7x9kQ2mPz8\" url postgres://app:7x9k%20Q2mPz8@db\n"), uint64(5))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		want := scan(s, "a", string(text))
		random := rand.New(rand.NewPCG(seed, 0))
		st := s.Stream("a")
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(len(text)))
			st.Write(rest[:n])
			rest = rest[n:]
		}
		got := st.Close()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, f := range got {
			if f.Line < 1 || f.Line > 1+bytes.Count(text, []byte("\n")) || f.Offset < 0 || f.Offset >= int64(len(text)) {
				t.Errorf("beyond the text: %+v", f)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b secret.Finding) int { return int(a.Offset - b.Offset) }) {
			t.Error("not in order")
		}
		secret.IsText(text)
		if again := s.Redact(string(text)); len(want) > 0 && want[0].Confidence == secret.High && again == string(text) {
			t.Error("nothing was redacted")
		}
	})
}
