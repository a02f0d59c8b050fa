package clients

import (
	"path/filepath"
	"testing"
)

// Cosign is cosign with a key pair of its own. It asks no transparency log and
// no certificate authority: nothing but the registry is spoken to.
type Cosign struct {
	t    testing.TB
	tool tool
	home string
}

// NewCosign is a cosign with a set-up of its own. Runs as any user.
func NewCosign(t testing.TB) *Cosign {
	t.Helper()
	path := Need(t, SuiteCosign)
	home := tempDir(t)
	env := append(dockerConfig(t, home), "COSIGN_PASSWORD=", "COSIGN_EXPERIMENTAL=1", "TUF_ROOT="+filepath.Join(home, "tuf"))
	c := &Cosign{t: t, home: home, tool: tool{path: path, env: env}}
	must(t, c.Run, "generate-key-pair", "--output-key-prefix", filepath.Join(home, "cosign"))
	return c
}

// Run runs one command and answers with all that it printed.
func (c *Cosign) Run(args ...string) (string, error) {
	c.t.Helper()
	return c.tool.run(c.t, args...)
}

// Login keeps a password for the registry, which is not asked. It answers with
// all that was printed.
func (c *Cosign) Login(registry, user, password string) (string, error) {
	c.t.Helper()
	return c.tool.runWith(c.t, password, "login", registry, "--username", user, "--password-stdin")
}

// Sign signs what ref stands for and stores the signature as cosign 2 does by
// default: under the tag sha256-<hex>.sig of the same repository. More are
// further flags.
func (c *Cosign) Sign(ref string, more ...string) (string, error) {
	c.t.Helper()
	args := []string{"sign", "--yes", "--key", filepath.Join(c.home, "cosign.key"), "--tlog-upload=false", "--allow-http-registry"}
	return c.Run(append(append(args, more...), ref)...)
}

// Verify checks the signature of ref.
func (c *Cosign) Verify(ref string, more ...string) (string, error) {
	c.t.Helper()
	args := []string{"verify", "--key", filepath.Join(c.home, "cosign.pub"), "--insecure-ignore-tlog", "--allow-http-registry"}
	return c.Run(append(append(args, more...), ref)...)
}
