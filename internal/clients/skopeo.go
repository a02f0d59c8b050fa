package clients

import (
	"os"
	"path/filepath"
	"testing"
)

// Copier is a skopeo. It has no store; a layout in its home stands for one.
type Copier struct {
	t      testing.TB
	tool   tool
	local  string // layout that Pull fills
	source string // layout that Push sends
}

// Skopeo is a skopeo with a set-up of its own. Runs as any user.
func Skopeo(t testing.TB) *Copier {
	t.Helper()
	path := Need(t, SuiteSkopeo)
	home := tempDir(t)
	env := configure(t, home)
	policy := filepath.Join(home, "config", "containers", "policy.json")
	return &Copier{t: t, local: filepath.Join(home, "local"), tool: tool{
		path: path, args: []string{"--policy", policy, "--tmpdir", home}, env: env,
	}}
}

// Run runs one command and answers with all that it printed.
func (c *Copier) Run(args ...string) (string, error) {
	c.t.Helper()
	return c.tool.run(c.t, args...)
}

// Login asks the registry whether it takes the password, and keeps it for the
// registry. It answers with all that was printed.
func (c *Copier) Login(registry, user, password string) (string, error) {
	c.t.Helper()
	return c.tool.runWith(c.t, password, "login", "--tls-verify=false", "--username", user, "--password-stdin", registry)
}

// Load remembers the layout for Push, which sends an image as it is. An index
// is written anew when skopeo (1.9) does not know all of its fields, and then
// has another digest than in the layout.
func (c *Copier) Load(layoutDir, _ string) { c.source = layoutDir }

// Push copies the loaded layout to ref and answers with all that was printed.
func (c *Copier) Push(ref string) (string, error) {
	c.t.Helper()
	return c.Run("copy", "--all", "--dest-tls-verify=false", "oci:"+c.source, "docker://"+ref)
}

// Pull copies ref, all of its platforms, and answers with all that was
// printed.
func (c *Copier) Pull(ref string) (string, error) {
	c.t.Helper()
	return c.Run("copy", "--all", "--src-tls-verify=false", "docker://"+ref, "oci:"+c.local+":"+layoutName)
}

// layoutName names the image in the layout; a later pull takes the name over.
const layoutName = "pulled"

// Remove forgets what was pulled.
func (c *Copier) Remove(string) {
	c.t.Helper()
	if err := os.RemoveAll(c.local); err != nil {
		c.t.Fatal(err)
	}
}

// Digest is the digest of the manifest or index that was pulled last.
func (c *Copier) Digest(ref string) string {
	c.t.Helper()
	roots, err := rootsOf(c.local)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range roots {
		if d.Annotations["org.opencontainers.image.ref.name"] == layoutName {
			return d.Digest.String()
		}
	}
	c.t.Fatalf("skopeo has not pulled %s", ref)
	return ""
}
