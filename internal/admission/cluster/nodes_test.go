package cluster_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/gate"
)

const nodesPath = "/api/v1/nodes/"

func node(os, architecture string) corev1.Node {
	return corev1.Node{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: os, Architecture: architecture}}}
}

func newNodes(t *testing.T, s *standin) *cluster.Nodes {
	t.Helper()
	n, err := cluster.NewNodes(s.client(), silent())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// become waits until the platforms are these.
func become(t *testing.T, n *cluster.Nodes, what string, platforms ...string) {
	t.Helper()
	eventually(t, what, func() bool { return slices.Equal(n.Platforms(), platforms) })
}

// TestPlatformsOfNodes: what nodes report, each once; and whenever it is not
// known what one of them is, nothing, which stands for every platform.
func TestPlatformsOfNodes(t *testing.T) {
	s := newStandin(t, "nodes")
	s.put(nodesPath+"a", node("linux", "arm64"))
	s.put(nodesPath+"b", node("linux", "amd64"))
	s.put(nodesPath+"c", node("linux", "amd64"))
	n := newNodes(t, s)
	var changes atomic.Int32
	n.OnChange(func() { changes.Add(1) })
	if p := n.Platforms(); p != nil {
		t.Errorf("before anything was read: %q", p)
	}
	start(t, n.Run)
	become(t, n, "sorted, each once", "linux/amd64", "linux/arm64")
	eventually(t, "told", func() bool { return changes.Load() > 0 })

	before := changes.Load()
	s.put(nodesPath+"w", node("windows", "amd64"))
	become(t, n, "one that joins counts", "linux/amd64", "linux/arm64", "windows/amd64")
	eventually(t, "told of the one that joins", func() bool { return changes.Load() == before+1 })
	s.put(nodesPath+"silent", node("linux", ""))
	become(t, n, "one that does not tell")
	s.put(nodesPath+"silent", node("linux", "s390x"))
	become(t, n, "it tells", "linux/amd64", "linux/arm64", "linux/s390x", "windows/amd64")
	s.remove(nodesPath + "silent")
	s.remove(nodesPath + "b")
	become(t, n, "of two alike, one is left", "linux/amd64", "linux/arm64", "windows/amd64")
	for _, name := range []string{"a", "c", "w"} {
		s.remove(nodesPath + name)
	}
	become(t, n, "no nodes at all")
}

// TestPlatformsWatchBreaks: nodes may have joined that are not known of.
func TestPlatformsWatchBreaks(t *testing.T) {
	s := newStandin(t, "nodes")
	s.put(nodesPath+"a", node("linux", "amd64"))
	n := newNodes(t, s)
	start(t, n.Run)
	become(t, n, "known", "linux/amd64")
	s.mu.Lock()
	s.refuse = func(string, ask) int { return http.StatusForbidden }
	s.mu.Unlock()
	s.endWatches()
	become(t, n, "broken")
}

// TestPlatformsMayNotBeRead: without the right to read nodes all platforms count.
func TestPlatformsMayNotBeRead(t *testing.T) {
	s := newStandin(t, "nodes")
	s.put(nodesPath+"a", node("linux", "amd64"))
	s.refuse = func(string, ask) int { return http.StatusForbidden }
	n := newNodes(t, s)
	start(t, n.Run)
	eventually(t, "asked for", func() bool { return s.count("list nodes") > 0 })
	time.Sleep(50 * time.Millisecond)
	if p := n.Platforms(); p != nil {
		t.Errorf("platforms %q", p)
	}
}

// TestInventoryJudgesForNodes: what runs is asked about for the platforms of the
// nodes, and at once when one of another platform joins.
func TestInventoryJudgesForNodes(t *testing.T) {
	s := newShop(t, "nodes", "events", "reports")
	s.put(nodesPath+"a", node("linux", "amd64"))
	n := newNodes(t, s)
	g := newStandings()
	g.set(digestA, gate.StatePass)
	cfg := inventoryConfig()
	cfg.Interval = time.Hour
	i := newInventoryWith(t, "a", cfg, cluster.InventoryDeps{Client: s.client(), Dynamic: s.dynamic(), Standings: g, Platforms: n.Platforms})
	n.OnChange(i.Recheck)
	start(t, n.Run)
	start(t, i.Run)
	eventually(t, "judged for the node", func() bool { return slices.Equal(g.platforms(digestA), []string{"linux/amd64"}) })
	s.put(nodesPath+"b", node("linux", "arm64"))
	eventually(t, "judged for both", func() bool { return slices.Equal(g.platforms(digestA), []string{"linux/amd64", "linux/arm64"}) })
}
