package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Runtime is a containerd with its command line, ctr.
type Runtime struct {
	t   testing.TB
	ctr tool
	dir string
	// Hosts is a directory for hosts.toml files, one folder a registry; pass
	// it with --hosts-dir. Empty until a test fills it.
	Hosts string

	logins map[string]string // name:password by registry, for --user
}

// Containerd starts a containerd of its own that unpacks with the native
// snapshotter, which works on any file system. Needs root.
func Containerd(t testing.TB) *Runtime {
	t.Helper()
	containerd := Need(t, SuiteContainerd)
	dir := tempDir(t)
	makeDirs(t, dir, "hosts")
	address := filepath.Join(dir, "containerd.sock")
	writeFile(t, filepath.Join(dir, "config.toml"), "version = 2\n"+
		"root = \""+filepath.Join(dir, "root")+"\"\n"+
		"state = \""+filepath.Join(dir, "state")+"\"\n"+
		// The rest of the kubelet's door and tracing would listen or dial.
		"disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[grpc]\n  address = \""+address+"\"\n")
	r := &Runtime{t: t, dir: dir, Hosts: filepath.Join(dir, "hosts"), logins: map[string]string{}, ctr: tool{
		path: lookPath("ctr"),
		args: []string{"--address", address, "--namespace", "test"},
		env:  environ(dir, "CONTAINERD_SNAPSHOTTER=native"),
	}}
	cmd := exec.Command(containerd, "--config", filepath.Join(dir, "config.toml"))
	cmd.Env = environ(dir)
	launch(t, cmd, filepath.Join(dir, "log"), func() error {
		_, err := r.Run("images", "list", "--quiet")
		return err
	})
	return r
}

// Environ leads other clients of containerd to it, and to the test's namespace.
func (r *Runtime) Environ() []string {
	return []string{"CONTAINERD_ADDRESS=" + r.ctr.args[1], "CONTAINERD_NAMESPACE=" + r.ctr.args[3]}
}

// Run runs one ctr command and answers with all it printed. "images pull" and
// "images push" speak to a registry without TLS when given --plain-http.
func (r *Runtime) Run(args ...string) (string, error) {
	r.t.Helper()
	return r.ctr.run(r.t, args...)
}

// Script puts a program into the folder that others find by its name, and that speaks
// to this one.
func (r *Runtime) Script(dir string) {
	r.t.Helper()
	r.ctr.script(r.t, dir)
}

// Login remembers a password for the registry, which is not asked: ctr is given
// it with every command.
func (r *Runtime) Login(registry, user, password string) (string, error) {
	r.logins[registry] = user + ":" + password
	return "", nil
}

// Load puts the images of an OCI layout into containerd, bytes and digests as
// they are, and names them ref.
func (r *Runtime) Load(layoutDir, ref string) {
	r.t.Helper()
	archive := filepath.Join(r.dir, "load.tar")
	if err := writeLayoutArchive(layoutDir, ref, archive); err != nil {
		r.t.Fatalf("archive of %s: %v", layoutDir, err)
	}
	must(r.t, r.Run, "images", "import", "--all-platforms", "--no-unpack", archive)
	if err := os.Remove(archive); err != nil {
		r.t.Fatal(err)
	}
}

// Push pushes ref and answers with all that was printed.
func (r *Runtime) Push(ref string) (string, error) {
	r.t.Helper()
	return r.speak("push", ref)
}

// Pull pulls and unpacks ref and answers with all that was printed.
func (r *Runtime) Pull(ref string) (string, error) {
	r.t.Helper()
	return r.speak("pull", ref)
}

// speak pushes or pulls, with the password for the registry if there is one.
func (r *Runtime) speak(command, ref string) (string, error) {
	r.t.Helper()
	args := []string{"images", command, "--plain-http"}
	registry, _, _ := strings.Cut(ref, "/")
	if login, ok := r.logins[registry]; ok {
		args = append(args, "--user", login)
	}
	return r.Run(append(args, ref)...)
}

// Remove forgets ref and, at once, the content that nothing else names.
func (r *Runtime) Remove(ref string) {
	r.t.Helper()
	must(r.t, r.Run, "images", "remove", "--sync", ref)
}

// Digest is the digest of the manifest or index that containerd has under ref.
func (r *Runtime) Digest(ref string) string {
	r.t.Helper()
	out := must(r.t, r.Run, "images", "list", "name=="+ref)
	for field := range strings.FieldsSeq(out) {
		if strings.HasPrefix(field, "sha256:") {
			return field
		}
	}
	r.t.Fatalf("containerd has no %s: %q", ref, out)
	return ""
}
