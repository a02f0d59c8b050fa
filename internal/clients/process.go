package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	commandWait = 2 * time.Minute  // one command line of a client
	startWait   = 60 * time.Second // until a daemon answers; a busy machine takes long
	stopWait    = 20 * time.Second // from SIGTERM to SIGKILL
	pollEvery   = 50 * time.Millisecond
	logShown    = 4 << 10 // bytes of a daemon's log shown when it fails
)

// tool is a program that is run once for each command.
type tool struct {
	path string
	args []string // before the caller's
	env  []string
}

// run answers with what the program printed, standard output and standard
// error as a person would see them mixed. The error is that of the exit code.
func (c tool) run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return c.runWith(t, "", args...)
}

// runWith does the same with a standard input.
func (c tool) runWith(t testing.TB, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, append(append([]string{}, c.args...), args...)...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", filepath.Base(c.path), strings.Join(args, " "), err)
	}
	return string(out), err
}

// script writes a program of the same name that runs this one, with its arguments and
// in its environment alone, for others who are to find it on their PATH.
func (c tool) script(t testing.TB, dir string) {
	t.Helper()
	quote := func(words []string) string {
		var b strings.Builder
		for _, w := range words {
			b.WriteString(" '" + strings.ReplaceAll(w, "'", `'\''`) + "'")
		}
		return b.String()
	}
	text := "#!/bin/sh\nexec env -i" + quote(c.env) + " " + c.path + quote(c.args) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(c.path)), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// must runs a command of which nothing but success is expected.
func must(t testing.TB, run func(args ...string) (string, error), args ...string) string {
	t.Helper()
	out, err := run(args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// daemon is a program that runs until the test is over.
type daemon struct {
	cmd   *exec.Cmd
	log   string        // path of the file with all it printed
	done  chan struct{} // closed when the process has ended
	ended sync.Once     // guards stop: a process id is not signalled twice
}

// launch starts a daemon and waits until ready answers nil. The kernel ends
// the process if the test program dies before its cleanup.
func launch(t testing.TB, cmd *exec.Cmd, logPath string, ready func() error) *daemon {
	t.Helper()
	f, err := os.OpenFile(logPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	d := &daemon{cmd: cmd, log: logPath, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() {
		defer close(d.done)
		_ = cmd.Wait() // the exit of a daemon that is being ended says nothing
	}()
	t.Cleanup(func() { d.stop(syscall.SIGTERM) })
	if err := d.await(ready); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, d.tail())
	}
	return d
}

// await polls until ready answers nil, the process ends, or time is up.
func (d *daemon) await(ready func() error) error {
	deadline := time.Now().Add(startWait)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			return errors.New("ended while starting")
		case <-time.After(pollEvery):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %s: %w", startWait, err)
		}
	}
}

// stop ends the process with sig, then the whole of its group the hard way,
// and returns when the process is gone.
func (d *daemon) stop(sig syscall.Signal) {
	d.ended.Do(func() {
		_ = d.cmd.Process.Signal(sig) // "already finished" is what is wanted
		_ = d.cmd.Process.Signal(syscall.SIGCONT)
		select {
		case <-d.done:
		case <-time.After(stopWait):
		}
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.done
	})
}

// tail is the end of what the daemon printed.
func (d *daemon) tail() string {
	data, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-logShown):])
}

// tempDir is a directory with a short path: a unix socket's path has at most
// 107 bytes, and t.TempDir spells out the name of the test. Whatever is still
// mounted below it is unmounted when the test is over.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "prq-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unmountBelow(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// unmountBelow detaches every mount below dir, the innermost first.
func unmountBelow(t testing.TB, dir string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Errorf("list mounts: %v", err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // later mounts lie on top of earlier ones
		fields := strings.Fields(lines[i])
		if len(fields) < 5 || !strings.HasPrefix(fields[4], dir+"/") {
			continue
		}
		if err := syscall.Unmount(fields[4], syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", fields[4], err)
		}
	}
}

// makeDirs makes directories below base.
func makeDirs(t testing.TB, base string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// writeFile writes a client's configuration.
func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePort is a port of the loopback address that nobody listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
