package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
)

func namespace(labels map[string]string) corev1.Namespace {
	return corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"a": "b"}}}
}

func newNamespaces(t *testing.T, s *standin) *cluster.Namespaces {
	t.Helper()
	n, err := cluster.NewNamespaces(s.client(), silent())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start runs something until the test is over.
func start(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Error("does not end")
		}
	})
}

func TestNamespaceFromTheCache(t *testing.T) {
	s := newStandin(t, "namespaces")
	s.put("/api/v1/namespaces/shop", namespace(map[string]string{"name": "securenamespace"}))
	n := newNamespaces(t, s)
	start(t, n.Run)
	eventually(t, "the cache answers", func() bool {
		before := s.count("get namespaces")
		labels, annotations, err := n.Namespace(t.Context(), "shop")
		return err == nil && labels["name"] == "securenamespace" && annotations["a"] == "b" && s.count("get namespaces") == before
	})
	s.put("/api/v1/namespaces/shop", namespace(map[string]string{"name": "other"}))
	eventually(t, "the cache follows", func() bool {
		labels, _, err := n.Namespace(t.Context(), "shop")
		return err == nil && labels["name"] == "other"
	})
	// What is handed out is the caller's own.
	labels, _, err := n.Namespace(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	clear(labels)
	if labels, _, err = n.Namespace(t.Context(), "shop"); err != nil || labels["name"] != "other" {
		t.Errorf("%v, %v", labels, err)
	}
	// One that the cache does not have yet is asked for.
	s.mu.Lock()
	s.refuse = func(verb string, _ ask) int {
		if verb == "watch" {
			return http.StatusInternalServerError
		}
		return 0
	}
	s.mu.Unlock()
	s.put("/api/v1/namespaces/new", namespace(nil))
	if labels, _, err = n.Namespace(t.Context(), "new"); err != nil || labels == nil {
		t.Errorf("%v, %v", labels, err)
	}
}

func TestNamespaceThatCannotBeHad(t *testing.T) {
	s := newStandin(t, "namespaces")
	n := newNamespaces(t, s) // not running
	s.put("/api/v1/namespaces/shop", namespace(nil))
	if _, _, err := n.Namespace(t.Context(), "shop"); err != nil {
		t.Error(err)
	}
	if _, _, err := n.Namespace(t.Context(), "gone"); !errors.Is(err, cluster.ErrNoNamespace) {
		t.Errorf("got %v", err)
	}
	hang := make(chan struct{})
	defer close(hang)
	s.mu.Lock()
	s.before = func(string, ask) { <-hang }
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	labels, _, err := n.Namespace(ctx, "shop")
	if err == nil || labels != nil || time.Since(begun) > 3*time.Second {
		t.Errorf("%v, %v after %s", labels, err, time.Since(begun))
	}
}

// A cache whose watch fails is not gone by: labels may have changed.
func TestNamespaceWatchBreaks(t *testing.T) {
	s := newStandin(t, "namespaces")
	s.put("/api/v1/namespaces/shop", namespace(map[string]string{"team": "old"}))
	n := newNamespaces(t, s)
	start(t, n.Run)
	eventually(t, "synced", func() bool {
		before := s.count("get namespaces")
		_, _, err := n.Namespace(t.Context(), "shop")
		return err == nil && s.count("get namespaces") == before
	})
	s.mu.Lock()
	s.refuse = func(verb string, _ ask) int {
		if verb == "watch" || verb == "list" {
			return http.StatusForbidden
		}
		return 0
	}
	s.mu.Unlock()
	s.endWatches()
	eventually(t, "the watch is found broken", func() bool { return s.count("list namespaces") > 1 || s.count("watch namespaces") > 2 })
	s.put("/api/v1/namespaces/shop", namespace(map[string]string{"team": "new"}))
	eventually(t, "the API server is asked", func() bool {
		labels, _, err := n.Namespace(t.Context(), "shop")
		return err == nil && labels["team"] == "new"
	})
}

// Two hundred pods in a namespace that is new ask once, more or less.
func TestNamespaceIsAskedForOnce(t *testing.T) {
	s := newStandin(t, "namespaces")
	s.put("/api/v1/namespaces/shop", namespace(map[string]string{"a": "b"}))
	gate := make(chan struct{})
	s.before = func(string, ask) { <-gate }
	n := newNamespaces(t, s)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if labels, _, err := n.Namespace(t.Context(), "shop"); err != nil || !cmp.Equal(labels, map[string]string{"a": "b"}) {
				t.Errorf("%v, %v", labels, err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(gate)
	wg.Wait()
	if n := s.count("get namespaces"); n > 20 {
		t.Errorf("asked %d times", n)
	}
}
