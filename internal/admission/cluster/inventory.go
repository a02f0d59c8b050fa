package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pratique/pratique/internal/gate"
)

// InventoryConfig says what is done about images that run.
type InventoryConfig struct {
	// Interval is how often each image is asked about. Default 5m.
	Interval time.Duration `yaml:"interval"`
	// Rate is how many images are asked about in a second, at most. Default 20.
	Rate float64 `yaml:"rate"`
	// Analyse asks for the analysis of images that run and are not known.
	Analyse bool `yaml:"analyse"`
	// Events makes Kubernetes Events on workloads whose images stand differently
	// than before.
	Events bool `yaml:"events"`
	// Reports says what kind of report is kept for each workload: policyreport
	// (wgpolicyk8s.io), openreports, auto (what the cluster knows, OpenReports
	// first) or none. Default auto.
	Reports string `yaml:"reports"`
	// MaxResults bounds the images in one report. Default 200.
	MaxResults int `yaml:"max_results"`
	// Eviction takes pods away whose images policy stops.
	Eviction EvictionConfig `yaml:"eviction"`
}

// Kinds of reports, as the configuration names them.
const (
	ReportsAuto   = "auto"
	ReportsPolicy = "policyreport"
	ReportsOpen   = "openreports"
	ReportsNone   = "none"
)

// Validate says what is wrong with the configuration.
func (c InventoryConfig) Validate() error {
	var errs []error
	if c.Interval != 0 && c.Interval < time.Second {
		errs = append(errs, errors.New("interval: less than a second"))
	}
	if c.Rate < 0 {
		errs = append(errs, errors.New("rate: negative"))
	}
	if !slices.Contains([]string{"", ReportsAuto, ReportsPolicy, ReportsOpen, ReportsNone}, c.Reports) {
		errs = append(errs, fmt.Errorf("reports: %q: want auto, policyreport, openreports or none", c.Reports))
	}
	if c.MaxResults < 0 || c.MaxResults > 500 {
		errs = append(errs, errors.New("max_results: want at most 500"))
	}
	if err := c.Eviction.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("eviction: %w", err))
	}
	return errors.Join(errs...)
}

func (c InventoryConfig) withDefaults() InventoryConfig {
	c.Interval = cmp.Or(c.Interval, 5*time.Minute)
	c.Rate = cmp.Or(c.Rate, 20)
	c.Reports = cmp.Or(c.Reports, ReportsAuto)
	c.MaxResults = cmp.Or(c.MaxResults, 200)
	c.Eviction = c.Eviction.withDefaults()
	return c
}

const (
	pendingInterval = 15 * time.Second // until an image that is being analysed is asked about again
	askTimeout      = 5 * time.Second
	// patience is how many intervals an image may go without an answer before
	// that is told.
	patience = 3
)

// Inventory is what runs in the cluster and how it stands. Every replica follows
// the pods and asks, so that each can tell; the one that leads writes: Events,
// reports, evictions.
type Inventory struct {
	config    InventoryConfig
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	standings gate.Standings
	platforms func() []string
	own       string // Pratique's own namespace
	cluster   string
	basis     func(context.Context) string
	admitted  gate.Admissions
	home      Home
	log       *slog.Logger
	now       func() time.Time
	figures   *figures

	table   *table
	owners  *owners
	factory informers.SharedInformerFactory
	pods    corelisters.PodLister
	synced  func() bool
	pace    *rate.Limiter                                // of questions
	changed workqueue.TypedRateLimitingInterface[string] // pods, by namespace/name; made by Run

	mu     sync.Mutex
	due    workqueue.TypedRateLimitingInterface[subject]   // images to ask about; nil before Run
	writes workqueue.TypedRateLimitingInterface[types.UID] // workloads to write about; nil while another leads
}

// InventoryDeps are what an Inventory works with.
type InventoryDeps struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface // for reports
	Standings gate.Standings
	// Platforms gives those of an index that count, none for all that it has; nil
	// for none. It must not block.
	Platforms func() []string
	Leader    *Leader // has the inventory write on one replica
	// Cluster is the name by which others know this one.
	Cluster string
	// Basis changes when images may stand differently: another policy, newer data.
	// Then all are asked about at once. Nil: at the interval alone.
	Basis func(context.Context) string
	// Admitted tells what admission let in; nil where nobody remembers.
	Admitted gate.Admissions
	// Home is told what runs; nil for nobody.
	Home Home
	Log  *slog.Logger
	Now  func() time.Time // nil: the machine's clock
}

// NewInventory returns an inventory that is empty until Run runs.
func NewInventory(cfg InventoryConfig, d InventoryDeps) (*Inventory, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Platforms == nil {
		d.Platforms = func() []string { return nil }
	}
	cfg = cfg.withDefaults()
	i := &Inventory{
		config: cfg, client: d.Client, dynamic: d.Dynamic, standings: d.Standings, platforms: d.Platforms, own: d.Leader.config.Namespace,
		cluster: d.Cluster, basis: d.Basis, admitted: d.Admitted, home: d.Home, log: d.Log, now: d.Now,
		figures: newFigures(), table: newTable(), owners: newOwners(d.Client),
		pace: rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate))),
		factory: informers.NewSharedInformerFactoryWithOptions(d.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = "status.phase!=Succeeded,status.phase!=Failed"
		})),
	}
	d.Leader.Do(i.lead)
	if i.home != nil {
		d.Leader.Do(i.tellHome)
	}
	return i, i.follow()
}

// slowly tries again after a second, then after ever longer.
func slowly[K comparable]() workqueue.TypedRateLimiter[K] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[K](time.Second, 5*time.Minute)
}

// follow lets changes of pods come into the queue.
func (i *Inventory) follow() error {
	pods := i.factory.Core().V1().Pods()
	informer := pods.Informer()
	i.pods, i.synced = pods.Lister(), informer.HasSynced
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			i.changed.Add(key)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, object any) { add(object) }, DeleteFunc: add,
	})
	// Only for the log: a list that is old is better here than none.
	fresh := &freshness{}
	if err = errors.Join(err, informer.SetTransform(gist), fresh.follow(informer, "pods", i.log)); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	return nil
}

// Run follows and asks until ctx ends; what it finds is written while this
// replica leads. It can be called once.
func (i *Inventory) Run(ctx context.Context) error {
	ctx = logged(ctx, i.log)
	i.changed = workqueue.NewTypedRateLimitingQueue(slowly[string]())
	due := workqueue.NewTypedRateLimitingQueue(slowly[subject]())
	i.mu.Lock()
	i.due = due
	i.mu.Unlock()
	defer i.factory.Shutdown()
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() {
		i.changed.ShutDown()
		due.ShutDown()
	})()
	i.factory.StartWithContext(ctx)
	g.Go(func() error { return drain(i.changed, func(key string) error { return i.index(ctx, key) }, i.complain) })
	g.Go(func() error { i.followBasis(ctx); return nil })
	g.Go(func() error { return drain(due, func(s subject) error { return i.ask(ctx, s) }, i.complain) })
	return g.Wait()
}

// Recheck asks about every image now: policy or data have changed.
func (i *Inventory) Recheck() {
	for _, s := range i.table.subjects() {
		i.askAfter(s, 0)
	}
}

// askAfter has an image asked about, at once or later.
func (i *Inventory) askAfter(s subject, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.due != nil {
		i.due.AddAfter(s, wait)
	}
}

// Running lists the images that run, the worst first.
func (i *Inventory) Running() []Running { return i.table.running() }

// drain works a queue off until it is shut down. What fails is tried again later.
func drain[K comparable](q workqueue.TypedRateLimitingInterface[K], do func(K) error, complain func(error)) error {
	for {
		key, over := q.Get()
		if over {
			return nil
		}
		if err := do(key); err != nil {
			complain(err)
			q.AddRateLimited(key)
		} else {
			q.Forget(key)
		}
		q.Done(key)
	}
}

func (i *Inventory) complain(err error) {
	if !errors.Is(err, context.Canceled) {
		i.log.Warn("inventory cannot follow", "error", err)
	}
}

// index brings the table up to date about one pod.
func (i *Inventory) index(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil // made by us; cannot be otherwise
	}
	pod, err := i.pods.Pods(namespace).Get(name)
	var running []subject
	if err == nil { // else it is gone: a lister has no other error
		running = subjects(pod)
	}
	if len(running) == 0 {
		i.dirty(i.table.drop(key)...)
		return nil
	}
	w, err := i.owners.of(ctx, pod)
	if err != nil {
		return err
	}
	fresh, changed := i.table.put(key, podEntry{
		namespace: namespace, name: name, uid: pod.UID, workload: w.UID, subjects: running, evictable: evictable(pod),
	}, w)
	for _, s := range fresh {
		i.askAfter(s, 0)
	}
	i.dirty(changed...)
	return nil
}

func evictable(pod *corev1.Pod) bool {
	_, static := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return !static && pod.DeletionTimestamp == nil && metav1.GetControllerOf(pod) != nil
}

// ask asks how one image stands, and makes known what is new about it.
func (i *Inventory) ask(ctx context.Context, s subject) error {
	if !i.table.runs(s) {
		return nil
	}
	if err := i.pace.Wait(ctx); err != nil {
		return nil // the end
	}
	st := i.standing(ctx, s)
	if ctx.Err() != nil {
		return nil
	}
	i.compare(ctx, s)
	changed, flipped := i.table.settle(s, st, i.now(), patience*i.config.Interval)
	if flipped != nil {
		i.figures.flips.WithLabelValues(string(flipped.from), string(flipped.to)).Inc()
		i.log.Info("image flipped", "image", s.String(), "from", flipped.from, "to", flipped.to, "policy", st.Policy, "workloads", len(changed), "message", st.Message)
	}
	i.dirty(changed...)
	wait := i.config.Interval
	if st.State == gate.StatePending || st.State == gate.StateError {
		wait = min(wait, pendingInterval)
	}
	i.askAfter(s, wait)
	return nil
}

// standing asks the gate. The leader asks for the analysis of what is not known:
// one is enough.
func (i *Inventory) standing(ctx context.Context, s subject) gate.Standing {
	if s.digest == "" {
		return gate.Standing{State: gate.StateUnknown, Message: s.reference + ": the node knows the image by its id alone (imported, not pulled), so that no verdict can be found for it"}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	inquiry := gate.Inquiry{Reference: s.reference, Digest: s.digest, Cluster: i.cluster, Namespace: s.namespace, Platforms: i.platforms()}
	st := i.standings.Standing(ctx, inquiry)
	// What is pending has been analysed, and nobody has judged it by the rules of now.
	if (st.State == gate.StateUnknown && i.config.Analyse || st.State == gate.StatePending) && i.leads() {
		if err := i.standings.Want(ctx, inquiry); err != nil {
			i.log.Warn("analysis not asked for", "image", s.String(), "error", err)
		}
	}
	return st
}

// dirty notes workloads to write about, while this replica leads.
func (i *Inventory) dirty(uids ...types.UID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.writes == nil {
		return
	}
	for _, uid := range uids {
		i.writes.Add(uid)
	}
}

func (i *Inventory) leads() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.writes != nil
}

// Describe is part of prometheus.Collector.
func (i *Inventory) Describe(ch chan<- *prometheus.Desc) { i.figures.describe(ch) }

// Collect is part of prometheus.Collector.
func (i *Inventory) Collect(ch chan<- prometheus.Metric) {
	byState, byAdmission, pods := i.table.count()
	i.figures.collect(ch, byState, byAdmission, pods, i.leads())
}
