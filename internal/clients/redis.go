package clients

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a Redis on one address of the loopback that can be ended and
// started again. It keeps nothing: what a restart finds is empty.
type RedisServer struct {
	// Addr is host:port, the same after a restart.
	Addr string

	t      testing.TB
	path   string
	dir    string
	daemon *daemon // nil while stopped
}

// Redis starts a Redis server. Runs as any user.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	r := &RedisServer{t: t, path: Need(t, SuiteRedis), dir: tempDir(t)}
	r.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	r.Start()
	return r
}

// Start starts the server again after Stop; it is answering when Start
// returns.
func (r *RedisServer) Start() {
	r.t.Helper()
	if r.daemon != nil {
		r.t.Fatal("clients: Redis is running")
	}
	_, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(r.path, "--bind", "127.0.0.1", "--port", port, "--dir", r.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--databases", "16")
	cmd.Env = environ(r.dir)
	r.daemon = launch(r.t, cmd, filepath.Join(r.dir, "log"), r.ping)
}

// Stop kills the server as a crash would: connections break, data is gone.
func (r *RedisServer) Stop() {
	r.t.Helper()
	if r.daemon == nil {
		return
	}
	r.daemon.stop(syscall.SIGKILL)
	r.daemon = nil
}

// Freeze suspends the server: connections stay up and nothing answers.
// Thaw lets it go on.
func (r *RedisServer) Freeze() { r.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (r *RedisServer) Thaw() { r.signal(syscall.SIGCONT) }

func (r *RedisServer) signal(sig syscall.Signal) {
	r.t.Helper()
	if r.daemon == nil {
		r.t.Fatal("clients: Redis is stopped")
	}
	if err := r.daemon.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// ping speaks the protocol by hand: this package needs one command only.
func (r *RedisServer) ping() error {
	conn, err := net.DialTimeout("tcp", r.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.TrimSpace(line) != "+PONG" {
		return fmt.Errorf("redis answered %q", line)
	}
	return nil
}
