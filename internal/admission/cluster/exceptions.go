package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
)

// imageExceptions is the custom resource of exceptions. It is not namespaced: who
// may edit workloads in a namespace may not except them. Its definition is in
// deploy/helm/pratique/crds.
var imageExceptions = schema.GroupVersionResource{Group: "pratique.io", Version: "v1alpha1", Resource: "imageexceptions"}

// ExceptionConfig says what becomes of ImageExceptions.
type ExceptionConfig struct {
	// Enabled follows them. Default true, where there is a cluster.
	Enabled bool `yaml:"enabled"`
	// Longest is how far from its making the end of one may be. Default 8760h, a
	// year.
	Longest time.Duration `yaml:"longest"`
}

// States of an exception, as its status has them.
const (
	ExceptionActive  = "Active"
	ExceptionExpired = "Expired"
	ExceptionInvalid = "Invalid" // it excepts nothing; the message says why
	ExceptionPending = "Pending" // the processes that judge cannot be told
)

const (
	expiringSoon   = 7 * 24 * time.Hour
	exceptionRound = time.Minute            // until home is told again: it may have lost them, and ends pass
	settling       = 200 * time.Millisecond // of changes that come together
	lookForCRD     = 30 * time.Second
)

// imageException is the object.
type imageException struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Owner   string      `json:"owner"`
		Reason  string      `json:"reason"`
		Expires metav1.Time `json:"expires"`
		Scope   struct {
			Images     []string `json:"images"`
			Digests    []string `json:"digests"`
			Namespaces []string `json:"namespaces"`
			Pulls      bool     `json:"pulls"`
		} `json:"scope"`
		Findings []struct {
			Gate           string `json:"gate"`
			TriggerID      string `json:"triggerID"`
			PackageVersion string `json:"packageVersion"`
		} `json:"findings"`
	} `json:"spec"`
	Status exceptionStatus `json:"status"`
}

type exceptionStatus struct {
	State    string `json:"state"`
	Message  string `json:"message"`
	Observed int64  `json:"observedGeneration"`
}

// Exceptions follows the ImageExceptions of the cluster, tells home of those that
// hold, and their authors of those that do not. The replica that leads does.
type Exceptions struct {
	config  ExceptionConfig
	client  kubernetes.Interface
	dynamic dynamic.Interface
	home    Home
	cluster string
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	byState map[string]int // while this replica leads
}

// ExceptionDeps are what Exceptions work with.
type ExceptionDeps struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Leader  *Leader
	Home    Home
	Cluster string
	Log     *slog.Logger
	Now     func() time.Time // nil: the machine's clock
}

// NewExceptions makes following them a duty of the leader.
func NewExceptions(cfg ExceptionConfig, d ExceptionDeps) *Exceptions {
	cfg.Longest = cmp.Or(cfg.Longest, 365*24*time.Hour)
	if d.Now == nil {
		d.Now = time.Now
	}
	e := &Exceptions{config: cfg, client: d.Client, dynamic: d.Dynamic, home: d.Home, cluster: d.Cluster, log: d.Log, now: d.Now}
	d.Leader.Do(e.lead)
	return e
}

// lead follows them until ctx ends. A cluster can come to know the resource at
// any time.
func (e *Exceptions) lead(ctx context.Context) {
	defer e.count(nil)
	for ctx.Err() == nil {
		known, err := knows(ctx, e.client, imageExceptions)
		if err != nil {
			e.complain(err)
		}
		if known {
			e.follow(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookForCRD):
		}
	}
}

// follow watches until ctx ends.
func (e *Exceptions) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(logged(ctx, e.log))
	factory := dynamicinformer.NewDynamicSharedInformerFactory(e.dynamic, 0)
	informer := factory.ForResource(imageExceptions).Informer()
	changed := make(chan struct{}, 1)
	_, err := onChange(informer, func() { wake(changed) })
	fresh := &freshness{}
	if err = errors.Join(err, fresh.follow(informer, "imageexceptions", e.log)); err != nil {
		e.complain(err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return
	}
	round := time.NewTicker(exceptionRound)
	defer round.Stop()
	for {
		// A list that may be old tells nothing: it could bring back what was deleted.
		if !fresh.recently(distrust) {
			e.tell(ctx, byName(informer.GetStore().List()))
		}
		select {
		case <-ctx.Done():
			return
		case <-round.C:
		case <-changed:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settling):
			}
		}
	}
}

// byName are the objects that an informer has, in the order of their names.
func byName(all []any) (objects []*unstructured.Unstructured) {
	for _, one := range all {
		if o, ok := one.(*unstructured.Unstructured); ok {
			objects = append(objects, o)
		}
	}
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return objects
}

// tell tells home of the exceptions that hold, and each object how it stands.
func (e *Exceptions) tell(ctx context.Context, objects []*unstructured.Unstructured) {
	var hold []bundle.Exception
	statuses := make([]exceptionStatus, len(objects))
	byState := map[string]int{}
	for n, o := range objects {
		exception, st := e.read(o)
		if st.State == ExceptionActive && len(hold) == gate.MaxExceptions {
			st.State, st.Message = ExceptionInvalid, fmt.Sprintf("there are more than %d", gate.MaxExceptions)
		}
		if st.State == ExceptionActive {
			hold = append(hold, exception)
			if exception.Expires.Sub(e.now()) < expiringSoon {
				byState["expiring"]++
			}
		}
		byState[st.State]++
		statuses[n] = st
	}
	told, cancel := context.WithTimeout(ctx, homeTimeout)
	err := e.home.PutExceptions(told, e.cluster, hold)
	cancel()
	if err != nil {
		e.complain(fmt.Errorf("tell of exceptions: %w", err))
		byState[ExceptionPending], byState[ExceptionActive] = byState[ExceptionActive], 0
	}
	for n, o := range objects {
		st := statuses[n]
		if err != nil && st.State == ExceptionActive {
			st.State, st.Message = ExceptionPending, "the processes that judge cannot be told at the moment"
		}
		e.mark(ctx, o, st)
	}
	e.count(byState)
}

// read turns an object into an exception, and says how it stands.
func (e *Exceptions) read(raw *unstructured.Unstructured) (bundle.Exception, exceptionStatus) {
	st := exceptionStatus{State: ExceptionInvalid, Observed: raw.GetGeneration()}
	var o imageException
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, &o); err != nil {
		st.Message = cut(err.Error(), maxMessage)
		return bundle.Exception{}, st
	}
	s := o.Spec
	x := bundle.Exception{
		ID: e.cluster + "/" + o.Name, Owner: s.Owner, Reason: s.Reason, Expires: s.Expires.UTC(),
		Scope: bundle.Scope{Cluster: e.cluster, Images: s.Scope.Images, Digests: s.Scope.Digests, Namespaces: s.Scope.Namespaces, Pulls: s.Scope.Pulls},
	}
	for _, f := range s.Findings {
		x.Findings = append(x.Findings, bundle.ExceptedFinding{Gate: f.Gate, TriggerID: f.TriggerID, PackageVersion: f.PackageVersion})
	}
	switch err := x.Validate(); {
	case err != nil:
		st.Message = cut(err.Error(), maxMessage)
	case x.Expires.Sub(o.CreationTimestamp.Time) > e.config.Longest:
		st.Message = fmt.Sprintf("expires: at most %s after the exception was made", e.config.Longest)
	case !e.now().Before(x.Expires):
		st.State, st.Message = ExceptionExpired, "it ran out; make a new one if it is still needed"
	default:
		st.State = ExceptionActive
	}
	return x, st
}

// mark writes the status, unless it stands there already.
func (e *Exceptions) mark(ctx context.Context, raw *unstructured.Unstructured, st exceptionStatus) {
	var now imageException
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"status": raw.Object["status"]}, &now); err == nil && now.Status == st {
		return
	}
	patch, err := json.Marshal(map[string]any{"status": st})
	if err == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, liveTimeout)
		defer cancel()
		_, err = e.dynamic.Resource(imageExceptions).Patch(ctx, raw.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	}
	if err != nil {
		e.complain(fmt.Errorf("write the status of exception %q: %w", raw.GetName(), err))
	}
}

func (e *Exceptions) complain(err error) {
	if !errors.Is(err, context.Canceled) {
		e.log.Warn("exceptions cannot be followed", "error", err)
	}
}

func (e *Exceptions) count(byState map[string]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byState = byState
}

var exceptionsDesc = prometheus.NewDesc("pratique_image_exceptions",
	"ImageExceptions of the cluster by state, as the leading replica knows them; expiring ones run out within a week, and are active too.", []string{"state"}, nil)

// Describe is part of prometheus.Collector.
func (e *Exceptions) Describe(ch chan<- *prometheus.Desc) { ch <- exceptionsDesc }

// Collect is part of prometheus.Collector.
func (e *Exceptions) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byState == nil {
		return // another replica tells
	}
	for label, state := range map[string]string{"active": ExceptionActive, "expired": ExceptionExpired, "invalid": ExceptionInvalid, "pending": ExceptionPending, "expiring": "expiring"} {
		ch <- prometheus.MustNewConstMetric(exceptionsDesc, prometheus.GaugeValue, float64(e.byState[state]), label)
	}
}
