package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Engine is a Docker engine with its command line. Registries on loopback
// addresses are spoken to without TLS, as Docker always does.
type Engine struct {
	t      testing.TB
	docker tool
	dir    string
}

// Docker starts an engine that has no network and stores images with the vfs
// driver, which works on any file system. Needs root.
func Docker(t testing.TB) *Engine {
	t.Helper()
	dockerd := Need(t, SuiteDocker)
	dir := tempDir(t)
	makeDirs(t, dir, "cli", "run")
	writeFile(t, filepath.Join(dir, "daemon.json"), "{}\n")
	writeFile(t, filepath.Join(dir, "cli", "config.json"), "{}\n")
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	e := &Engine{t: t, dir: dir, docker: tool{
		path: lookPath("docker"),
		args: []string{"--host", socket},
		env:  environ(dir, "DOCKER_CONFIG="+filepath.Join(dir, "cli"), "DOCKER_BUILDKIT=0"),
	}}
	cmd := exec.Command(dockerd,
		"--config-file", filepath.Join(dir, "daemon.json"),
		"--data-root", filepath.Join(dir, "root"),
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"),
		"--host", socket,
		"--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
	)
	cmd.Env = environ(dir)
	launch(t, cmd, filepath.Join(dir, "log"), func() error {
		_, err := e.Run("version")
		return err
	})
	return e
}

// Run runs one docker command against the engine and answers with all it
// printed.
func (e *Engine) Run(args ...string) (string, error) {
	e.t.Helper()
	return e.docker.run(e.t, args...)
}

// Script puts a program into the folder that others find by its name, and that speaks
// to this one.
func (e *Engine) Script(dir string) {
	e.t.Helper()
	e.docker.script(e.t, dir)
}

// Login has the engine ask the registry whether it takes the password, and keeps
// it for the registry. It answers with all that was printed.
func (e *Engine) Login(registry, user, password string) (string, error) {
	e.t.Helper()
	return e.docker.runWith(e.t, password, "login", "--username", user, "--password-stdin", registry)
}

// Environ leads a script to the engine: the variables that Docker's command line
// reads, and DOCKER, the command line that fits the engine.
func (e *Engine) Environ() []string {
	return []string{
		"DOCKER=" + e.docker.path,
		"DOCKER_HOST=" + e.docker.args[1],
		"DOCKER_CONFIG=" + filepath.Join(e.dir, "cli"),
		"DOCKER_BUILDKIT=0",
	}
}

// Load puts an image of an OCI layout into the engine and names it ref
// ("127.0.0.1:5000/team/app:1"). The platform of this machine is taken from an
// index. Docker's store keeps layers uncompressed: a push of the image has a
// digest of its own, not that of the layout.
func (e *Engine) Load(layoutDir, ref string) {
	e.t.Helper()
	archive := filepath.Join(e.dir, "load.tar")
	if err := writeDockerArchive(layoutDir, ref, archive); err != nil {
		e.t.Fatalf("docker archive of %s: %v", layoutDir, err)
	}
	must(e.t, e.Run, "load", "--input", archive)
	if err := os.Remove(archive); err != nil {
		e.t.Fatal(err)
	}
}

// Push pushes ref and answers with all that was printed.
func (e *Engine) Push(ref string) (string, error) {
	e.t.Helper()
	return e.Run("push", ref)
}

// Pull pulls ref and answers with all that was printed.
func (e *Engine) Pull(ref string) (string, error) {
	e.t.Helper()
	return e.Run("pull", ref)
}

// Remove forgets ref, so that a pull asks for every byte again.
func (e *Engine) Remove(ref string) {
	e.t.Helper()
	must(e.t, e.Run, "rmi", "--force", ref)
}

// Digest is the digest of the manifest under which the engine knows ref
// after a pull or push.
func (e *Engine) Digest(ref string) string {
	e.t.Helper()
	out := must(e.t, e.Run, "image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", ref)
	repository := ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		repository = ref[:i]
	}
	for line := range strings.Lines(out) {
		if name, digest, ok := strings.Cut(strings.TrimSpace(line), "@"); ok && name == repository {
			return digest
		}
	}
	e.t.Fatalf("docker knows no digest of %s: %q", ref, out)
	return ""
}
