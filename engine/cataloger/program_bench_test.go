package cataloger_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/pratique/pratique/engine/cataloger"
)

// BenchmarkProgram: MB of a program in a second; real ones where they are, and
// the worst that chance makes.
func BenchmarkProgram(b *testing.B) {
	random := make([]byte, 32<<20)
	chance := rand.NewChaCha8([32]byte{})
	if _, err := chance.Read(random); err != nil {
		b.Fatal(err)
	}
	copy(random, "\x7fELF")
	programs := map[string][]byte{"random": random}
	for _, name := range []string{"go", "node", "git", "bash"} {
		if path, err := exec.LookPath(name); err == nil {
			if body, err := os.ReadFile(path); err == nil {
				programs[name] = body
			}
		}
	}
	for name, body := range programs {
		for _, base := range []string{"unknown", name} {
			b.Run(name+" named "+base, func(b *testing.B) {
				c := cataloger.ForContent(body[:cataloger.HeadSize])
				if c == nil {
					b.Skip("no program")
				}
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					c.Read(bytes.NewReader(body), cataloger.NewResult("bin/"+base, limits))
				}
			})
		}
	}
}
