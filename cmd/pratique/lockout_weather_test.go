package main_test

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// weatherRows are about what happens meanwhile: new data, restarts, an empty
// Redis. Each has a server of its own.
func weatherRows() []lockout {
	return []lockout{
		{"pull a good image while every image is judged again", "Harbor L8: goharbor/harbor#15406, #17046, #19486",
			[]string{"docker", "ctr", "skopeo", "crane", "oras"}, pullWhileJudging},
		{"pull and overwrite after a restart with an empty Redis", "Harbor L10: goharbor/harbor#23082 (an outage stops deployments)",
			[]string{"docker", "ctr", "skopeo", "crane", "oras"}, emptyRedis},
		{"push while the server restarts, by trying again", "docs/operations.md: nothing acknowledged is lost, and what is cut can be done again",
			[]string{"docker", "ctr", "skopeo", "crane", "oras"}, pushThroughRestart},
	}
}

// pullWhileJudging brings new data again and again that touch the image.
func pullWhileJudging(t *testing.T, b bench) {
	s, feed := serveLockouts(t, "--set", "gate.wait=1ms")
	b.s = s
	b.mustPush(t, b.good(), "1")
	first := s.revision(t)
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		defer close(done)
		for range 4 {
			before := s.revision(t)
			feed.renew(t)
			feed.syncInto(t, s.dataDir)
			for end := time.Now().Add(20 * time.Second); s.revision(t) == before && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
		}
	})
	pulls := 0
	for ended := false; !ended && !t.Failed(); pulls++ {
		select {
		case <-done:
			ended = true
		default:
		}
		b.Remove(b.ref("1"))
		if out, err := b.Pull(b.ref("1")); err != nil {
			t.Errorf("pull %d: %v\n%s", pulls, err, out)
		}
	}
	group.Wait()
	if last := s.revision(t); last < first+4 {
		t.Errorf("data went from revision %d to %d", first, last)
	}
	t.Logf("%d pulls", pulls)
}

// revision is that of the data in force.
func (s *server) revision(t *testing.T) int {
	var doc struct{ Data struct{ Sequence int } }
	if err := s.get("/v1/pratique/status", &doc); err != nil {
		t.Error(err)
	}
	return doc.Data.Sequence
}

// emptyRedis restarts Redis, which keeps nothing, and the server.
func emptyRedis(t *testing.T, b bench) {
	redis := clients.Redis(t)
	s, feed := serveLockouts(t, "--set", "redis.url=redis://"+redis.Addr)
	b.s = s
	b.mustPush(t, b.good(), "good")
	b.mustPush(t, b.bad(), "bad")
	redis.Stop()
	redis.Start()
	b.mustPull(t, "good")
	b.mustBeRefused(t, "bad")
	b.Remove(b.ref("good"))
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v", err)
	}
	redis.Stop()
	redis.Start()
	b.s = serve(t, s.dataDir, append(feed.settings(), "--set", "redis.url=redis://"+redis.Addr, "--set", "registry.listen="+s.registry)...)
	if out, err := b.Pull(b.ref("good")); err != nil {
		t.Errorf("pull after the restart: %v\n%s", err, out)
	}
	b.mustPush(t, b.good(), "bad")
	b.mustPull(t, "bad")
}

// pushThroughRestart kills the server while an image is pushed and starts it
// again on the same address; the client is run again until it succeeds. It goes
// on until two pushes were under way when the server died.
func pushThroughRestart(t *testing.T, b bench) {
	listen := freeAddress(t)
	s, feed := serveLockouts(t, "--set", "registry.listen="+listen)
	b.s = s
	underWay := 0
	for round := 0; underWay < 2 && round < 20 && !t.Failed(); round++ {
		tag := fmt.Sprint(round)
		b.Load(layoutOf(t, bulky(b.repository, round)), b.ref(tag))
		failures, pusher := make(chan int, 1), b
		go func() { failures <- pusher.pushUntil(t, tag, time.Now().Add(time.Minute)) }()
		time.Sleep(time.Duration(100+50*(round%4)) * time.Millisecond)
		_ = b.s.stop(syscall.SIGKILL) // that it was killed is no news
		if len(failures) == 0 {
			underWay++
		}
		b.s = serve(t, s.dataDir, append(feed.settings(), "--set", "registry.listen="+listen)...)
		t.Logf("round %d: the client failed %d times", round, <-failures)
		b.mustPull(t, tag)
	}
	if underWay < 2 {
		t.Errorf("%d pushes were under way: the row shows nothing", underWay)
	}
}

// bulky is an image that passes, with 16 MiB to upload.
func bulky(name string, round int) imagetest.Image {
	return imagetest.Build(
		imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...),
		imagetest.Plain(imagetest.File("noise", fmt.Sprintf("%s %0*d", name, 16<<20, round))))
}

// pushUntil pushes as a person or a CI job does, again after a failure, and
// answers with the number of failures.
func (b bench) pushUntil(t *testing.T, tag string, deadline time.Time) (failures int) {
	for ; ; failures++ {
		out, err := b.Push(b.ref(tag))
		if err == nil {
			return failures
		}
		if time.Now().After(deadline) {
			t.Errorf("push of %s: %v\n%s", tag, err, out)
			return failures
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// freeAddress is an address of the loopback that nobody listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
