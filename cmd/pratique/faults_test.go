package main_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestRedisGoneInMidTraffic stops and starts a real Redis while images are
// pulled and pushed: known images keep flowing, nothing unjudged is served.
func TestRedisGoneInMidTraffic(t *testing.T) {
	redis := clients.Redis(t)
	s := serve(t, synced(t), append(feedSettings(t), "--set", "redis.url=redis://"+redis.Addr)...)
	s.push("good", imagetest.Clean())
	s.push("bad", imagetest.Vulnerable())
	stop := make(chan struct{})
	var pulls atomic.Int64
	var group sync.WaitGroup
	for name, want := range map[string]int{"good": 200, "bad": 403} {
		for range 3 {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					pulls.Add(1)
					if status, body := s.pull(name); status != want {
						t.Errorf("%s: HTTP %d %s, want %d", name, status, body, want)
						return
					}
				}
			})
		}
	}
	for round, change := range []func(){redis.Stop, redis.Start, redis.Freeze, redis.Thaw} {
		time.Sleep(700 * time.Millisecond)
		change()
		for kind, want := range map[string]int{"good": 200, "bad": 403} {
			name := fmt.Sprintf("%s-%d", kind, round)
			s.push(name, unique(kind, round))
			if status, body := s.pull(name); status != want {
				t.Errorf("%s, pushed in between: HTTP %d %s, want %d", name, status, body, want)
			}
		}
	}
	close(stop)
	group.Wait()
	t.Logf("%d pulls", pulls.Load())
}

// TestKilledWhilePushing kills the process without warning while images are
// pushed, again and again: what was acknowledged is there, whole and judged.
func TestKilledWhilePushing(t *testing.T) {
	data := synced(t)
	acknowledged := map[string]string{} // name -> kind
	var mu sync.Mutex
	for round := range 4 {
		s := serve(t, data, feedSettings(t)...)
		var group sync.WaitGroup
		for worker := range 3 {
			group.Go(func() {
				for i := 0; ; i++ {
					kind := []string{"good", "bad"}[i%2]
					name := fmt.Sprintf("%s-%d-%d-%d", kind, round, worker, i)
					r := imagetest.Registry{URL: "http://" + s.registry, Header: s.token(name)}
					if r.Header == nil || r.Push(context.Background(), name, "1", unique(name, round)) != nil {
						return
					}
					mu.Lock()
					acknowledged[name] = kind
					mu.Unlock()
				}
			})
		}
		s.await(func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acknowledged) < 4*(round+1) {
				return fmt.Errorf("%d pushes are acknowledged", len(acknowledged))
			}
			return nil
		})
		time.Sleep(rand.N(200 * time.Millisecond))
		_ = s.stop(syscall.SIGKILL) // that it was killed is no news
		group.Wait()
	}
	s := serve(t, data, feedSettings(t)...)
	for name, kind := range acknowledged {
		if status, body := s.pull(name); status != map[string]int{"good": 200, "bad": 403}[kind] {
			t.Errorf("%s: HTTP %d %s", name, status, body)
		}
	}
	t.Logf("%d acknowledged pushes", len(acknowledged))
}

// TestStopLetsTransfersFinish: after SIGTERM a download that is under way goes
// on to its end.
func TestStopLetsTransfersFinish(t *testing.T) {
	s := serve(t, synced(t), feedSettings(t)...)
	big := imagetest.Build(imagetest.Plain(imagetest.File("big", strings.Repeat("0123456789abcdef", 4<<20))), imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	s.push("big", big)
	res, err := http.Get("http://" + s.registry + "/v2/big/blobs/" + big.Layers[0].Descriptor().Digest.String())
	fatal(t, err)
	defer res.Body.Close()
	_, err = io.ReadFull(res.Body, make([]byte, 1<<20))
	fatal(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.stop(syscall.SIGTERM) }()
	time.Sleep(300 * time.Millisecond)
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n+1<<20 != int64(len(big.Layers[0].Blob)) {
		t.Errorf("read %d more bytes of %d: %v", n, len(big.Layers[0].Blob), err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// unique makes an image of a kind ("good...", "bad...") that no other test image equals.
func unique(name string, round int) imagetest.Image {
	apk := imagetest.GoodSSL
	if strings.HasPrefix(name, "bad") {
		apk = imagetest.VulnerableSSL
	}
	return imagetest.Build(imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{apk}, imagetest.File("name", fmt.Sprint(name, round)))...))
}

func (s *server) push(name string, im imagetest.Image) {
	s.t.Helper()
	if err := (imagetest.Registry{URL: "http://" + s.registry, Header: s.token(name)}).Push(context.Background(), name, "1", im); err != nil {
		s.t.Error(err)
	}
}

func (s *server) pull(name string) (int, string) {
	s.t.Helper()
	res, err := http.Get("http://" + s.registry + "/v2/" + name + "/manifests/1")
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// token gets a token that may push; nil when nobody answers.
func (s *server) token(repo string) http.Header {
	res, err := http.Get("http://" + s.registry + "/auth/token?scope=repository:" + repo + ":pull,push")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(body), `"token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return http.Header{"Authorization": {"Bearer " + token}}
}
