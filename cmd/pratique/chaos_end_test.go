package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/faultnet"
	"github.com/pratique/pratique/internal/localregistry"
)

// gauges are what a process holds at one moment.
type gauges struct {
	goroutines, files int
	heap, memory      int64 // bytes: in use by the program; resident
}

func (g gauges) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, heap %d MB, resident %d MB", g.goroutines, g.files, g.heap>>20, g.memory>>20)
}

// measure reads a running server's gauges.
func measure(t testing.TB, s *server) gauges {
	t.Helper()
	res, err := http.Get(s.api + "/metrics")
	fatal(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fatal(t, err)
	values := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "go_memstats_heap_inuse_bytes", "process_resident_memory_bytes"} {
		if values[name] == 0 {
			t.Fatalf("/metrics has no %s", name)
		}
	}
	return gauges{int(values["go_goroutines"]), int(values["process_open_fds"]), int64(values["go_memstats_heap_inuse_bytes"]), int64(values["process_resident_memory_bytes"])}
}

// spooled lists what a server's spool folder has, and the unlinked files of it
// that the process still holds.
func spooled(t testing.TB, s *server) []string {
	t.Helper()
	var all []string
	dir := filepath.Join(s.dataDir, "spool")
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	fds := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	open, err := os.ReadDir(fds)
	fatal(t, err)
	for _, fd := range open {
		target, err := os.Readlink(filepath.Join(fds, fd.Name()))
		if err == nil && strings.HasPrefix(target, dir) { // else closed meanwhile
			all = append(all, target)
		}
	}
	return all
}

func (c *chaos) links() []*faultnet.Proxy { return []*faultnet.Proxy{c.front, c.upLink, c.shared} }

func (c *chaos) gauges() gauges { return measure(c.t, c.server) }

// What the program may hold at the end beyond what it held at its first start:
// caches that have filled, and idle connections. Uploads that were left open
// come on top.
const (
	moreGoroutines = 40
	moreFiles      = 40
	moreHeap       = 64 << 20 // bytes
	openUpload     = 1 << 20  // bytes that an open upload may hold
	uploadRoutines = 3        // and goroutines: its analysis, which inflates beside
)

// settled: nothing that was broken leaves anything running.
func (c *chaos) settled(before gauges) {
	for _, w := range c.workers {
		w.door.client.CloseIdleConnections()
	}
	for _, l := range c.links() {
		l.Cut()
	}
	left := c.leftOpen()
	var now gauges
	c.eventually("process", "", func() error {
		if now = c.gauges(); now.goroutines > before.goroutines+moreGoroutines+left*uploadRoutines ||
			now.files > before.files+moreFiles+left || now.heap > before.heap+moreHeap+int64(left)*openUpload {
			return fmt.Errorf("%v; at the start %v; %d uploads may be open", now, before, left)
		}
		if files := spooled(c.t, c.server); len(files) > 0 {
			return fmt.Errorf("the spool has %v", files)
		}
		return c.server.get("/readyz", nil)
	})
	c.t.Logf("at the start %v; at the end %v; %d uploads may be open", before, now, left)
}

// leftOpen is how many uploads clients may have left open since the program was
// last started. It keeps them for half an hour, so that a client may go on.
func (c *chaos) leftOpen() int {
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	n := 0
	for _, o := range c.history.operations {
		switch {
		case strings.HasPrefix(o.what, "FAULT SIGKILL"):
			n = 0
		case strings.HasPrefix(o.what, "push") && o.outcome != wasOK:
			n++
		}
	}
	return n
}

func (c *chaos) newestIndex() (sequence uint64) {
	files, err := filepath.Glob(filepath.Join(c.dataDir, "vulndb", "vulndb-*.idx"))
	fatal(c.t, err)
	for _, f := range files {
		var n uint64
		_, err := fmt.Sscanf(filepath.Base(f), "vulndb-%d-", &n)
		fatal(c.t, err)
		sequence = max(sequence, n)
	}
	return sequence
}

// stored stops the program and looks at the registries themselves: what was
// acknowledged is there bit for bit, refused images too, and no upload is left
// that the sweep does not take away.
func (c *chaos) stored() {
	if err := c.server.stop(syscall.SIGTERM); err != nil {
		c.t.Errorf("serve ended with %v", err)
	}
	dir := filepath.Join(c.dataDir, "registry")
	local, err := localregistry.Open(dir, localregistry.Options{})
	fatal(c.t, err)
	defer func() { fatal(c.t, local.Close()) }()
	ctx := context.Background()
	read := 0
	for _, w := range c.workers {
		for _, s := range w.shelves() {
			for _, x := range s.sorted(func(_ *specimen, h *holding) bool { return h.state == present && !h.torn }) {
				repo, remote := remoteRepo(s)
				get := c.direct(repo)
				if !remote {
					get = func(route string, d digest.Digest) ([]byte, error) { return readLocal(ctx, local, s.name, route, d) }
				}
				c.compare(s, "manifests", x.digest(), x.raw, get)
				for d, blob := range x.blobs {
					c.compare(s, "blobs", d, blob, get)
				}
				read++
			}
		}
	}
	fatal(c.t, local.Sweep(ctx, time.Now().Add(time.Minute)))
	uploads, err := filepath.Glob(filepath.Join(dir, "docker/registry/v2/repositories/*/_uploads/*"))
	fatal(c.t, err)
	if len(uploads) > 0 {
		c.history.violate("registry", "", "uploads that no sweep takes away: %v", uploads)
	}
	c.t.Logf("%d manifests with their blobs read from the registries behind; the upstream told %d lies", read, c.liar.told.Load())
	for name, l := range map[string]*faultnet.Proxy{"client": c.front, "upstream": c.upLink, "redis": c.shared} {
		c.t.Logf("%s link: %+v", name, l.Stats())
	}
}

func (c *chaos) compare(s *shelf, route string, d digest.Digest, content []byte, get func(string, digest.Digest) ([]byte, error)) {
	if got, err := get(route, d); err != nil || !bytes.Equal(got, content) {
		c.history.violate(s.name, d, "the registry behind has %d bytes of %d, or others: %v", len(got), len(content), err)
	}
}

func readLocal(ctx context.Context, r *localregistry.Registry, repo, route string, d digest.Digest) ([]byte, error) {
	if route == "manifests" {
		raw, _, err := r.Manifest(ctx, repo, d.String())
		return raw, err
	}
	body, _, err := r.Blob(ctx, repo, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// direct reads from the remote registry itself.
func (c *chaos) direct(repo string) func(string, digest.Digest) ([]byte, error) {
	d := newDoor(strings.TrimPrefix(c.upstream, "http://"))
	return func(route string, id digest.Digest) ([]byte, error) {
		defer d.client.CloseIdleConnections()
		r := d.do(ask{method: http.MethodGet, path: "/v2/" + repo + "/" + route + "/" + id.String(), header: http.Header{"Accept": {image.MediaTypeManifest, image.MediaTypeIndex}}})
		return r.body, want(r, http.StatusOK)
	}
}
