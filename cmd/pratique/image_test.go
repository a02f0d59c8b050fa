package main_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/sharedtest"
)

// TestContainerImage builds the container image of this tree, starts it as
// docker-compose.yaml does (read-only, without capabilities, verdicts shared
// through a Redis with a key), with its first synchronisation still ahead, and
// pushes and pulls through it. Only the network is the machine's own: the engine
// of the tests has no other.
func TestContainerImage(t *testing.T) {
	corpus := sharedtest.Dir(t, "corpus")
	e := clients.Docker(t)
	redis := clients.Redis(t)
	buildImage(t, e)
	s := startContainer(t, e, redis.Addr)

	roundTrip(t, s, e, filepath.Join(corpus, "alpine-3.8"))
	wants := []string{`policy "default"`, "CVE-2025-15467 libcrypto3, libssl3 3.3.2-r0", s.api + "/report/sha256:"}
	refused(t, s, e, filepath.Join(corpus, "alpine-3.20"), wants, true)
	if n := keysOf(t, redis.Addr); n == 0 {
		t.Error("Redis holds nothing")
	}
	// What docker-compose.yaml asks for the health.
	mustDocker(t, e, "exec", "--env", "PRATIQUE_URL="+s.api, container, "/pratique", "system", "status")

	// The volume outlives the process, which ends in peace.
	mustDocker(t, e, "stop", "--time", "40", container)
	if code := strings.TrimSpace(mustDocker(t, e, "inspect", "--format", "{{.State.ExitCode}}", container)); code != "0" {
		t.Errorf("exit code after stop = %s, want 0", code)
	}
	mustDocker(t, e, "start", container)
	s = awaitContainer(t, e)
	if s.digest("team/clean", "1.0") == "" {
		t.Error("the image that was pushed before the restart is gone")
	}
}

const (
	imageName = "pratique:test"
	container = "pratique"
)

// buildImage does what `make image` does, outside the tree.
func buildImage(t *testing.T, e *clients.Engine) {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), "scripts/image", filepath.Join(t.TempDir(), "image"))
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(append(os.Environ(), e.Environ()...), "IMAGE="+imageName)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/image: %v\n%s", err, out)
	}
	t.Logf("image built in %s", time.Since(began).Round(time.Second))
}

// startContainer starts the image on free ports and waits until it has data.
func startContainer(t *testing.T, e *clients.Engine, redis string) *server {
	t.Helper()
	key := filepath.Join(t.TempDir(), "secrets", "hmac.key")
	secret := exec.CommandContext(t.Context(), "scripts/secret", key)
	secret.Dir = filepath.Join("..", "..")
	if out, err := secret.CombinedOutput(); err != nil {
		t.Fatalf("scripts/secret: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := e.Run("rm", "--force", "--volumes", container); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	mustDocker(t, e, "run", "--detach", "--name", container, "--network", "host",
		"--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"--volume", "data:/var/lib/pratique",
		"--volume", sharedtest.Dir(t, "data")+":/feeds:ro",
		"--volume", key+":/run/secrets/hmac_key:ro",
		"--env", "PRATIQUE_REGISTRY_LISTEN=127.0.0.1:0", "--env", "PRATIQUE_API_LISTEN=127.0.0.1:0",
		"--env", "PRATIQUE_AUTH_ANONYMOUS=push",
		"--env", "PRATIQUE_REDIS_URL=redis://"+redis+"/0", "--env", "PRATIQUE_REDIS_HMAC_KEY_FILE=/run/secrets/hmac_key",
		"--env", `PRATIQUE_FEEDS_SOURCES=[{name: osv, url: "file:///feeds/vulndb", ecosystems: [Debian, Alpine]}, {name: nvd, url: "file:///feeds/nvd"}]`,
		imageName)
	return awaitContainer(t, e)
}

// awaitContainer finds the addresses of the container's last start in its log,
// and waits until it is ready.
func awaitContainer(t *testing.T, e *clients.Engine) *server {
	t.Helper()
	s := &server{t: t, log: &tail{}}
	s.await(func() error {
		log, err := e.Run("logs", container)
		if err != nil {
			return err
		}
		for line := range strings.Lines(log) {
			if m := address.FindStringSubmatch(line); m != nil && m[1] == "registry" {
				s.registry = strings.TrimPrefix(m[2], "http://")
			} else if m != nil {
				s.api = m[2]
			}
		}
		if err := s.get("/readyz", nil); err != nil {
			return fmt.Errorf("%w\n%s", err, log)
		}
		return nil
	})
	return s
}

func mustDocker(t *testing.T, e *clients.Engine, args ...string) string {
	t.Helper()
	out, err := e.Run(args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// keysOf counts the keys of a Redis.
func keysOf(t *testing.T, addr string) (n int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("DBSIZE\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, ":%d", &n); err != nil {
		t.Fatalf("redis answered %q", line)
	}
	return n
}
