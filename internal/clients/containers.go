package clients

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Store is podman or buildah, which share a store and a command line, with
// storage and set-up of its own. Registries on 127.0.0.1 are spoken to without
// TLS; no signature is asked for.
type Store struct {
	t    testing.TB
	tool tool
	home string
}

// Podman is a podman with a store of its own. Needs root.
func Podman(t testing.TB) *Store {
	t.Helper()
	path := Need(t, SuitePodman)
	home := tempDir(t)
	args := append(storeArgs(home),
		"--tmpdir", filepath.Join(home, "libpod"),
		"--cgroup-manager", "cgroupfs", "--events-backend", "none")
	return &Store{t: t, home: home, tool: tool{path: path, args: args, env: configure(t, home)}}
}

// Buildah is a buildah with a store of its own. Needs root.
func Buildah(t testing.TB) *Store {
	t.Helper()
	path := Need(t, SuiteBuildah)
	home := tempDir(t)
	return &Store{t: t, home: home, tool: tool{path: path, args: storeArgs(home), env: configure(t, home)}}
}

// Run runs one command and answers with all that it printed.
func (s *Store) Run(args ...string) (string, error) {
	s.t.Helper()
	return s.tool.run(s.t, args...)
}

// Script puts a program into the folder that others find by its name, and that speaks
// to this one.
func (s *Store) Script(dir string) {
	s.t.Helper()
	s.tool.script(s.t, dir)
}

// Login asks the registry whether it takes the password, and keeps it for the
// registry. It answers with all that was printed.
func (s *Store) Login(registry, user, password string) (string, error) {
	s.t.Helper()
	return s.tool.runWith(s.t, password, "login", "--tls-verify=false", "--username", user, "--password-stdin", registry)
}

// RegistriesConf is the file by which it knows registries.
func (s *Store) RegistriesConf() string {
	return filepath.Join(s.home, "config", "containers", "registries.conf")
}

// Load puts an image of an OCI layout into the store and names it ref. The
// platform of this machine is taken from an index. A push compresses the
// layers anew: the digest is not that of the layout.
func (s *Store) Load(layoutDir, ref string) {
	s.t.Helper()
	archive := filepath.Join(s.home, "load.tar")
	if err := writeDockerArchive(layoutDir, ref, archive); err != nil {
		s.t.Fatalf("docker archive of %s: %v", layoutDir, err)
	}
	must(s.t, s.Run, "pull", "--quiet", "docker-archive:"+archive)
	if err := os.Remove(archive); err != nil {
		s.t.Fatal(err)
	}
}

// Push pushes ref and answers with all that was printed.
func (s *Store) Push(ref string) (string, error) {
	s.t.Helper()
	return s.Run("push", "--tls-verify=false", ref)
}

// Pull pulls ref and answers with all that was printed.
func (s *Store) Pull(ref string) (string, error) {
	s.t.Helper()
	return s.Run("pull", "--tls-verify=false", ref)
}

// Remove forgets ref, so that a pull asks for every byte again.
func (s *Store) Remove(ref string) {
	s.t.Helper()
	must(s.t, s.Run, "rmi", "--force", ref)
}

// Digest is the digest of the manifest under which ref was pulled.
func (s *Store) Digest(ref string) string {
	s.t.Helper()
	// An image that was loaded again is listed once for each time.
	lines := strings.Fields(must(s.t, s.Run, "images", "--format", "{{.Digest}}", ref))
	if lines = slices.Compact(lines); len(lines) != 1 {
		s.t.Fatalf("digests of %s: %q", ref, lines)
	}
	return lines[0]
}

func storeArgs(home string) []string {
	return []string{
		"--root", filepath.Join(home, "root"),
		"--runroot", filepath.Join(home, "runroot"),
		"--storage-driver", "vfs",
	}
}

// configure writes the set-up that skopeo, podman and buildah share and
// answers with their environment. The variables are for most of it, the places
// in the home for what has no variable.
func configure(t testing.TB, home string) []string {
	t.Helper()
	conf := filepath.Join(home, "config", "containers")
	makeDirs(t, home, "run", "data", "config/containers", "libpod")
	writeFile(t, filepath.Join(home, "auth.json"), "{}\n")
	writeFile(t, filepath.Join(conf, "policy.json"),
		`{"default": [{"type": "insecureAcceptAnything"}]}`+"\n")
	writeFile(t, filepath.Join(conf, "registries.conf"),
		"unqualified-search-registries = []\n\n[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n")
	writeFile(t, filepath.Join(conf, "storage.conf"), "[storage]\ndriver = \"vfs\"\n"+
		"runroot = \""+filepath.Join(home, "runroot")+"\"\ngraphroot = \""+filepath.Join(home, "root")+"\"\n")
	writeFile(t, filepath.Join(conf, "containers.conf"),
		// Podman's locks are one file in /dev/shm for the whole machine otherwise.
		"[engine]\nlock_type = \"file\"\n")
	return environ(home,
		"CONTAINERS_REGISTRIES_CONF="+filepath.Join(conf, "registries.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(conf, "storage.conf"),
		"CONTAINERS_CONF="+filepath.Join(conf, "containers.conf"),
		"REGISTRY_AUTH_FILE="+filepath.Join(home, "auth.json"),
	)
}
