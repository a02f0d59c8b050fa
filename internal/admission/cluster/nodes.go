package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// byPlatform is the index of nodes by platform; "" has those that do not tell.
const byPlatform = "platform"

// Nodes tells the platforms of the cluster's nodes, while Run runs. Safe for
// concurrent use.
type Nodes struct {
	factory informers.SharedInformerFactory
	index   cache.Indexer
	synced  func() bool
	told    func() bool // all nodes of the first list were made known
	fresh   freshness
	log     *slog.Logger
	changed func() // nil: nobody wants to know

	mu   sync.Mutex
	last []string // platforms when somebody was last told
}

// NewNodes returns nodes of which nothing is known until Run runs.
func NewNodes(client kubernetes.Interface, log *slog.Logger) (*Nodes, error) {
	n := &Nodes{log: log, factory: informers.NewSharedInformerFactory(client, 0)}
	informer := n.factory.Core().V1().Nodes().Informer()
	n.index, n.synced = informer.GetIndexer(), informer.HasSynced
	err := errors.Join(informer.SetTransform(platformOnly), n.fresh.follow(informer, "nodes", log),
		informer.AddIndexers(cache.Indexers{byPlatform: func(object any) ([]string, error) { return []string{platform(object)}, nil }}))
	handler, handlerErr := onChange(informer, n.look)
	if err = errors.Join(err, handlerErr); err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	n.told = handler.HasSynced
	return n, nil
}

// OnChange has f called when the platforms have changed. Call it before Run; f
// must not block.
func (n *Nodes) OnChange(f func()) { n.changed = f }

// Run follows the nodes until ctx ends.
func (n *Nodes) Run(ctx context.Context) error {
	n.factory.StartWithContext(logged(ctx, n.log))
	if cache.WaitForCacheSync(ctx.Done(), n.told) {
		n.look() // those before may have come too early to be believed
	}
	<-ctx.Done()
	n.factory.Shutdown()
	return nil
}

// Platforms returns the platforms, sorted and each once: "linux/amd64". It is nil
// when they are not known for sure, because the nodes were not read yet, cannot
// be followed, or one of them does not tell: every platform that an image has
// counts then.
func (n *Nodes) Platforms() []string {
	if !n.synced() || n.fresh.recently(distrust) {
		return nil
	}
	all := n.index.ListIndexFuncValues(byPlatform)
	if len(all) == 0 || slices.Contains(all, "") {
		return nil
	}
	slices.Sort(all)
	return all
}

// look tells of platforms that are others than before.
func (n *Nodes) look() {
	now := n.Platforms()
	n.mu.Lock()
	same := slices.Equal(now, n.last)
	n.last = now
	n.mu.Unlock()
	if same {
		return
	}
	n.log.Info("platforms of nodes changed", "platforms", now)
	if n.changed != nil {
		n.changed()
	}
}

func platform(object any) string {
	node, ok := object.(*corev1.Node)
	if !ok {
		return ""
	}
	info := node.Status.NodeInfo
	if info.OperatingSystem == "" || info.Architecture == "" {
		return ""
	}
	return info.OperatingSystem + "/" + info.Architecture
}

// platformOnly keeps of a node what is asked for.
func platformOnly(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	kept := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion}}
	kept.Status.NodeInfo.OperatingSystem = node.Status.NodeInfo.OperatingSystem
	kept.Status.NodeInfo.Architecture = node.Status.NodeInfo.Architecture
	return kept, nil
}
