package gate_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// pulls asks the gate n times at once.
func pulls(t *testing.T, s *gatetest.System, q gate.Question, m *image.Manifest, n int) []gate.Decision {
	t.Helper()
	all := make([]gate.Decision, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { all[i] = s.Gate.Pull(t.Context(), q, m) })
	}
	group.Wait()
	return all
}

func question(t *testing.T, s *gatetest.System, r *registry, m *image.Manifest) gate.Question {
	t.Helper()
	q := gate.Question{Target: r.target(), Tag: "1", Principal: "ann"}
	if err := s.Catalog.Record(t.Context(), q.Target.Key(), m, q.Tag, q.Principal, s.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	return q
}

// TestAnalysedOnce: any number of clients that want the same image at the same
// time cost one analysis and one verdict; a layer that two images share is read
// once.
func TestAnalysedOnce(t *testing.T) {
	base := imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...)
	one := imagetest.Build(base, imagetest.Gzip(imagetest.File("one", "1")))
	two := imagetest.Build(base, imagetest.Gzip(imagetest.File("two", "2")))
	r := newRegistry(one, two)
	s := gatetest.New(t, gatetest.Options{Upstreams: gate.Upstreams{r.upstream()}})
	goOn := r.pause()
	var group sync.WaitGroup
	for _, im := range []imagetest.Image{one, two} {
		m := parse(t, im)
		q := question(t, s, r, m)
		group.Go(func() {
			for _, d := range pulls(t, s, q, m, 20) {
				if d.Outcome != gate.Refused || !strings.Contains(d.Message, "CVE-2025-15467") {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	<-r.waiting // the first of them reads
	goOn()
	group.Wait()
	for _, im := range []imagetest.Image{one, two} {
		for d := range im.Blobs() {
			if n := r.count(d.String()); n != 1 {
				t.Errorf("%s was read %d times", d, n)
			}
		}
	}
	counts, err := s.Catalog.Counts(t.Context())
	if err != nil || counts.Images != 2 || counts.Verdicts != 2 {
		t.Errorf("%+v, %v", counts, err)
	}
	if got := metric(t, s, `pratique_verdicts_total{action="stop"}`); got != "2" {
		t.Errorf("%s verdicts were made, want 2", got)
	}
}

// TestAnalysisOutlivesItsClients: a client that gives up, or is told to come
// back, leaves the analysis running.
func TestAnalysisOutlivesItsClients(t *testing.T) {
	im := imagetest.Clean()
	r, m := newRegistry(im), parse(t, im)
	config := gate.Defaults()
	config.Wait = 20 * time.Millisecond
	s := gatetest.New(t, gatetest.Options{Config: &config, Upstreams: gate.Upstreams{r.upstream()}})
	q := question(t, s, r, m)
	goOn := r.pause()
	if d := s.Gate.Known(t.Context(), q, m); d.Outcome != gate.Pending || len(r.waiting) != 0 {
		t.Errorf("Known analyses: %+v", d)
	}
	d := s.Gate.Pull(t.Context(), q, m)
	if d.Outcome != gate.Pending || !strings.Contains(d.Message, "memory.example/app:1 is being analysed for the first time") {
		t.Errorf("while the registry is slow: %+v", d)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if d := s.Gate.Pull(gone, q, m); d.Outcome == gate.Served {
		t.Errorf("to a client that is gone: %+v", d)
	}
	goOn()
	for deadline := time.Now().Add(10 * time.Second); d.Outcome == gate.Pending && time.Now().Before(deadline); {
		d = s.Gate.Pull(t.Context(), q, m)
	}
	if d.Outcome != gate.Served {
		t.Errorf("after the analysis: %+v", d)
	}
	for blob := range im.Blobs() {
		if n := r.count(blob.String()); n != 1 {
			t.Errorf("%s was read %d times", blob, n)
		}
	}
}

// TestFailedAnalysisIsTriedAgain: a registry that failed once is asked again,
// and its failure is no answer about the image.
func TestFailedAnalysisIsTriedAgain(t *testing.T) {
	im := imagetest.Clean()
	r, m := newRegistry(im), parse(t, im)
	s := gatetest.New(t, gatetest.Options{Upstreams: gate.Upstreams{r.upstream()}})
	q := question(t, s, r, m)
	config := r.content[im.ID()]
	r.content[im.ID()] = []byte("another")
	for _, d := range pulls(t, s, q, m, 5) {
		if d.Outcome != gate.Refused || !strings.Contains(d.Message, "a blob in the registry is not what its digest says; gate.on_error is deny") {
			t.Errorf("%+v", d)
		}
	}
	r.content[im.ID()] = config
	if d := s.Gate.Pull(t.Context(), q, m); d.Outcome != gate.Served {
		t.Errorf("after it was mended: %+v", d)
	}
}
