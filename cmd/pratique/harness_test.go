package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/sharedtest"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pratique-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pratique")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 2
	}
	return m.Run()
}

// feedSettings point the feeds at the shared vulnerability data.
func feedSettings(t testing.TB) []string {
	return []string{"--set", fmt.Sprintf(`feeds.sources=[{name: osv, url: "file://%s"}, {name: nvd, url: "file://%s"}]`,
		sharedtest.Dir(t, "data", "vulndb"), sharedtest.Dir(t, "data", "nvd"))}
}

// master is a data folder with the shared vulnerability data, synced once by
// `pratique feeds sync`.
var master struct {
	once sync.Once
	dir  string
	err  error
}

// synced makes a data folder of the test's own with the shared vulnerability
// data in it.
func synced(t testing.TB) string {
	t.Helper()
	settings := feedSettings(t)
	master.once.Do(func() {
		master.dir = filepath.Join(filepath.Dir(binary), "master")
		out, err := exec.Command(binary, append([]string{"feeds", "sync", "--set", "data_dir=" + master.dir}, settings...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "new data: revision 1") {
			master.err = fmt.Errorf("feeds sync: %w\n%s", err, out)
		}
	})
	if master.err != nil {
		t.Fatal(master.err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(master.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// server is a running `pratique serve`.
type server struct {
	t        testing.TB
	cmd      *exec.Cmd
	args     []string
	log      *tail
	dataDir  string
	registry string // host:port
	api      string // http://host:port
	done     chan error
}

// serve starts the binary on free ports and waits until it is ready. Settings
// are further arguments.
func serve(t testing.TB, dataDir string, settings ...string) *server {
	t.Helper()
	s := start(t, dataDir, settings...)
	s.await(func() error { return s.get("/readyz", nil) })
	return s
}

func start(t testing.TB, dataDir string, settings ...string) *server {
	t.Helper()
	s := &server{t: t, dataDir: dataDir, log: &tail{}, done: make(chan error, 1)}
	s.args = append([]string{"serve", "--set", "registry.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0", "--set", "data_dir=" + dataDir}, settings...)
	s.cmd = exec.Command(binary, s.args...)
	s.cmd.Env = append(os.Environ(), "HOME="+dataDir)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addresses := make(chan [2]string, 1)
	go s.read(stderr, addresses)
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the end of serve's log:\n%s", s.log.String())
		}
	})
	select {
	case a := <-addresses:
		s.registry, s.api = strings.TrimPrefix(a[0], "http://"), a[1]
	case err := <-s.done:
		s.done <- err
		t.Fatalf("serve ended: %v\n%s", err, s.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("serve says nothing\n%s", s.log)
	}
	return s
}

var address = regexp.MustCompile(`^\s+(registry|pages)\s+(http://\S+)`)

// read keeps the log and finds the addresses in the banner.
func (s *server) read(stderr io.Reader, addresses chan<- [2]string) {
	var found [2]string
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.log.add(lines.Text())
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			found[map[string]int{"registry": 0, "pages": 1}[m[1]]] = m[2]
			if m[1] == "pages" {
				addresses <- found
			}
		}
	}
	s.done <- s.cmd.Wait()
}

// stop ends the process with a signal and returns how it ended.
func (s *server) stop(sig syscall.Signal) error {
	if s.cmd.ProcessState != nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(45 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("serve did not end after %v", sig)
		return errors.New("killed")
	}
}

// get reads a JSON document of the API.
func (s *server) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: HTTP %d %s %v", path, res.StatusCode, body, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// await retries until f succeeds.
func (s *server) await(f func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	s.t.Fatalf("not in a minute: %v\n%s", err, s.log)
}

// pratique runs a command and returns its output and exit code.
func pratique(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// tail keeps the last lines of a log. It is safe for concurrent use.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (l *tail) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines = append(l.lines, line); len(l.lines) > 80 {
		l.lines = l.lines[1:]
	}
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
