package clients

import (
	"os"
	"path/filepath"
	"testing"
)

// Crane is crane, the command line of go-containerregistry: what it sends is
// what ko, kaniko and other tools built on that library send. It has no store; a
// layout in its home stands for one.
type Crane struct {
	t      testing.TB
	tool   tool
	local  string // layout that Pull fills
	source string // layout that Push sends
}

// NewCrane is a crane with a set-up of its own. Runs as any user.
func NewCrane(t testing.TB) *Crane {
	t.Helper()
	path := Need(t, SuiteCrane)
	home := tempDir(t)
	return &Crane{t: t, local: filepath.Join(home, "local"), tool: tool{
		path: path, args: []string{"--insecure"}, env: dockerConfig(t, home),
	}}
}

// Run runs one command and answers with all that it printed.
func (c *Crane) Run(args ...string) (string, error) {
	c.t.Helper()
	return c.tool.run(c.t, args...)
}

// Login keeps a password for the registry, which is not asked. It answers with
// all that was printed.
func (c *Crane) Login(registry, user, password string) (string, error) {
	c.t.Helper()
	return c.tool.runWith(c.t, password, "auth", "login", registry, "--username", user, "--password-stdin")
}

// Load remembers the layout for Push, which sends it as it is.
func (c *Crane) Load(layoutDir, _ string) { c.source = layoutDir }

// Push pushes the loaded layout to ref and answers with all that was printed.
func (c *Crane) Push(ref string) (string, error) {
	c.t.Helper()
	return c.Run("push", c.source, ref)
}

// Pull pulls ref, all of its platforms, and answers with all that was printed.
func (c *Crane) Pull(ref string) (string, error) {
	c.t.Helper()
	return c.Run("pull", "--format", "oci", ref, c.local)
}

// Remove forgets what was pulled.
func (c *Crane) Remove(string) {
	c.t.Helper()
	if err := os.RemoveAll(c.local); err != nil {
		c.t.Fatal(err)
	}
}

// Digest is the digest of the manifest or index that was pulled last.
func (c *Crane) Digest(ref string) string {
	c.t.Helper()
	roots, err := rootsOf(c.local)
	if err != nil || len(roots) == 0 {
		c.t.Fatalf("crane has not pulled %s: %v", ref, err)
	}
	return roots[len(roots)-1].Digest.String()
}
