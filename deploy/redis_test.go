package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/verdicts"
)

// TestBundledRedis runs the rendered command of the Redis container with the real
// Redis: Pratique's client does its work there with the password, nothing without it,
// and nobody does anything else.
func TestBundledRedis(t *testing.T) {
	program := clients.Need(t, clients.SuiteRedis)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	all := decodeAll(t, release{}.render(t))
	container := find[*appsv1.Deployment](t, all, "pratique-redis").Spec.Template.Spec.Containers[0]
	dir := t.TempDir()
	password := filepath.Join(dir, "redis-password")
	if err := os.WriteFile(password, []byte("with \"quotes\" and a newline\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("/run/secrets/pratique", dir, "--dir /data", "--dir "+dir,
		"exec redis-server", fmt.Sprintf("exec %s --bind 127.0.0.1 --port %d", program, address.Port)).Replace(container.Args[0])
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
	})

	r := redisAt(t, address.String(), password)
	for deadline := time.Now().Add(20 * time.Second); r.Ping(t.Context()) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no Redis: %v\n%s", r.Ping(t.Context()), out.String())
		}
	}
	useRedis(t, r)
	if err := redisAt(t, address.String(), "").Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without password: %v", err)
	}
}

func redisAt(t *testing.T, address, password string) *verdicts.Redis {
	t.Helper()
	r, err := verdicts.NewRedis(verdicts.RedisConfig{URL: "redis://" + address + "/0", PasswordFile: password}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// useRedis does everything that Pratique does with Redis.
func useRedis(t *testing.T, r *verdicts.Redis) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	heard := make(chan digest.Digest, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Follow(ctx, func(manifest digest.Digest, _ string) {
			select {
			case heard <- manifest:
			default:
			}
		}, func() {})
	}()
	v := &policy.Verdict{Manifest: digest.FromString("manifest"), Selection: "s", BundleID: "b"}
	for told := false; !told; v.Data.Sequence++ {
		if _, err := r.Put(ctx, v); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
			told = true
		case <-time.After(100 * time.Millisecond): // not subscribed yet
		case <-ctx.Done():
			t.Fatal("nobody is told of a verdict")
		}
	}
	if got, err := r.Get(ctx, v.Manifest, v.Selection); err != nil || got == nil || got.BundleID != "b" {
		t.Errorf("verdict %v: %v", got, err)
	}
	useShared(ctx, t, r)
	stop()
	<-done
}

// useShared does what serve and admission do between them.
func useShared(ctx context.Context, t *testing.T, r *verdicts.Redis) {
	t.Helper()
	if err := r.Publish(ctx, verdicts.Active{}, map[string][]byte{"h": []byte("{}")}); err != nil {
		t.Error(err)
	}
	if a, err := r.Active(ctx); err != nil || a == nil {
		t.Errorf("active %v: %v", a, err)
	}
	if b, err := r.Bundle(ctx, "h"); err != nil || string(b) != "{}" {
		t.Errorf("bundle %s: %v", b, err)
	}
	var fact, wish string
	if err := r.PutFact(ctx, "f", "fact"); err != nil {
		t.Error(err)
	}
	if _, err := r.Fact(ctx, "f", &fact); err != nil || fact != "fact" {
		t.Errorf("fact %q: %v", fact, err)
	}
	if err := r.Leave(ctx, verdicts.Exceptions, "prod", "list"); err != nil {
		t.Error(err)
	}
	if all, err := r.Left(ctx, verdicts.Exceptions); err != nil || string(all["prod"]) != `"list"` {
		t.Errorf("exceptions %s: %v", all, err)
	}
	if err := r.Want(ctx, "w", "wish"); err != nil {
		t.Error(err)
	}
	if _, err := r.Wanted(ctx, &wish); err != nil || wish != "wish" {
		t.Errorf("wish %q: %v", wish, err)
	}
}
