// Package clients starts the real programs that people put in front of
// Pratique (Docker engine, containerd, skopeo, podman, buildah, crane, helm,
// cosign; of oras the library) and behind it (Redis), so that tests speak with
// them and not with an imitation.
//
// Each program gets a home of its own below a temporary directory, a socket or
// port of its own, and is ended with everything it left behind when the test
// is over. Nothing of the machine's own set-up is read, and nothing is changed
// but the cache of seen blobs that skopeo, podman and buildah share. The package
// is for tests on Linux alone and must not know Pratique: it takes a registry's
// host:port and an image's layout directory, whoever made them.
//
// Start with Need, which decides whether a suite runs, then read docker.go.
package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The names of the suites, as tests pass them to Need and people write them
// in RequireEnv.
const (
	SuiteDocker     = "docker"
	SuiteContainerd = "containerd"
	SuiteSkopeo     = "skopeo"
	SuitePodman     = "podman"
	SuiteBuildah    = "buildah"
	SuiteCrane      = "crane"
	SuiteHelm       = "helm"
	SuiteCosign     = "cosign"
	SuiteRedis      = "redis"
	SuiteDpkg       = "dpkg"
	SuiteRPM        = "rpm"
)

// RequireEnv names the environment variable that lists, separated by commas,
// the suites whose absence is a failure; "all" is every suite.
const RequireEnv = "PRATIQUE_REQUIRE"

// logEnv names the environment variable with the file to which every suite
// that did not run adds a line. "go test" shows no reason for a skip; `make
// test` prints this file instead.
const logEnv = "PRATIQUE_SUITE_LOG"

// NotRun begins the message of every test that was skipped for want of
// something outside the tree.
const NotRun = "SUITE NOT RUN:"

// suite tells what one suite needs of the machine: Debian's programs, or one Go
// program.
type suite struct {
	programs []string // all must be there; the first is the one Need answers with
	packages string   // Debian packages that hold them
	root     bool     // mounts, or files of other owners: no use without root
	module   string   // package@version of a Go program that scripts/suites builds
}

var suites = map[string]suite{
	SuiteDocker:     {programs: []string{"dockerd", "docker", "containerd", "runc"}, packages: "docker.io", root: true},
	SuiteContainerd: {programs: []string{"containerd", "ctr"}, packages: "containerd", root: true},
	SuiteSkopeo:     {programs: []string{"skopeo"}, packages: "skopeo"},
	SuitePodman:     {programs: []string{"podman"}, packages: "podman", root: true},
	SuiteBuildah:    {programs: []string{"buildah"}, packages: "buildah", root: true},
	SuiteCrane:      {module: "github.com/google/go-containerregistry/cmd/crane@v0.22.1"},
	SuiteHelm:       {module: "helm.sh/helm/v3/cmd/helm@v3.22.0"},
	SuiteCosign:     {module: "github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5"},
	SuiteRedis:      {programs: []string{"redis-server"}, packages: "redis-server"},
	SuiteDpkg:       {programs: []string{"dpkg-query", "dpkg", "dpkg-deb"}, packages: "dpkg", root: true},
	SuiteRPM:        {programs: []string{"rpm", "rpmbuild"}, packages: "rpm"},
}

// Need answers with the path of the main program of the suite. Where the
// machine cannot run the suite, the test is skipped loudly, or fails if the
// suite is required.
func Need(t testing.TB, name string) string {
	t.Helper()
	s, ok := suites[name]
	if !ok {
		t.Fatalf("clients: unknown suite %q", name)
	}
	if s.module != "" {
		return needTool(t, name, s.module)
	}
	for _, program := range s.programs {
		if lookPath(program) == "" {
			Skip(t, name, fmt.Sprintf("program %s is not installed (Debian: %s)", program, s.packages))
		}
	}
	if s.root && os.Geteuid() != 0 {
		Skip(t, name, "needs root")
	}
	return lookPath(s.programs[0])
}

// Skip ends the test because something outside the tree is missing: as a
// failure if RequireEnv lists the suite, else as a skip that is recorded.
// Suites that need other things than programs may call it with a name of
// their own.
func Skip(t testing.TB, name, why string) {
	t.Helper()
	if Required(name) {
		t.Fatalf("suite %s is required by %s and cannot run: %s", name, RequireEnv, why)
	}
	line := fmt.Sprintf("%s %s: %s", NotRun, name, why)
	if err := record(line); err != nil {
		t.Errorf("record %q: %v", line, err)
	}
	t.Skip(line)
}

// Required tells whether RequireEnv lists the suite. SuiteKubernetes has to be
// listed by its name.
func Required(name string) bool {
	for entry := range strings.SplitSeq(os.Getenv(RequireEnv), ",") {
		if entry = strings.TrimSpace(entry); entry == "all" && name != SuiteKubernetes || entry == name {
			return true
		}
	}
	return false
}

// record adds a line to the file that logEnv names. Test programs of several
// packages write it at once; short appends do not mix.
func record(line string) (err error) {
	path := os.Getenv(logEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = f.WriteString(line + "\n")
	return err
}

// systemDirs are searched first: Debian's own programs fit one another (a
// newer docker in /usr/local speaks a newer protocol than its engine), and
// /usr/sbin is not on an ordinary user's PATH.
var systemDirs = []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"}

// lookPath finds a program, or answers "".
func lookPath(program string) string {
	for _, dir := range systemDirs {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

// environ is the environment every program gets: none of the caller's proxies
// or set-up, a PATH that has the helpers (runc, iptables), and a home of its
// own. Later entries win.
func environ(home string, extra ...string) []string {
	path := strings.Join(slices.Concat(systemDirs, filepath.SplitList(os.Getenv("PATH"))), ":")
	return append([]string{
		"PATH=" + path,
		"HOME=" + home,
		"XDG_RUNTIME_DIR=" + filepath.Join(home, "run"),
		"XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"XDG_DATA_HOME=" + filepath.Join(home, "data"),
		"TMPDIR=" + home,
		"LANG=C.UTF-8",
	}, extra...)
}
