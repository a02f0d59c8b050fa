package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// listPage is how many reports are listed at once.
const listPage = 500

// reporter keeps one report for each workload that runs something. A new one is
// made for each term of leading, and knows of no report at first: it writes each
// once.
type reporter struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	wanted  string
	limit   int
	figures *figures

	mu      sync.Mutex
	kind    *reportKind // nil: the cluster knows none, or none is wanted
	written map[types.UID]writtenReport
}

// writtenReport is where a report is, and the hash of what it says.
type writtenReport struct {
	namespace string
	sum       [sha256.Size]byte
}

func newReporter(i *Inventory) *reporter {
	return &reporter{client: i.client, dynamic: i.dynamic, wanted: i.config.Reports, limit: i.config.MaxResults, figures: i.figures,
		written: map[types.UID]writtenReport{}}
}

// discover asks the cluster which of the wanted kinds it knows, and reports
// whether that has changed: a custom resource can be installed at any time.
func (r *reporter) discover(ctx context.Context) (changed bool, err error) {
	wanted := []string{r.wanted}
	switch r.wanted {
	case ReportsAuto:
		wanted = []string{ReportsOpen, ReportsPolicy}
	case ReportsNone:
		return false, nil
	}
	var found *reportKind
	for _, name := range wanted {
		k := reportKinds[name]
		known, err := knows(ctx, r.client, k.GroupVersionResource)
		if err != nil {
			return false, err
		}
		if known {
			found = &k
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if found == r.kind || found != nil && r.kind != nil && *found == *r.kind {
		return false, nil
	}
	r.kind = found
	clear(r.written)
	return true, nil
}

// knows asks whether the cluster has a resource.
func knows(ctx context.Context, client kubernetes.Interface, k schema.GroupVersionResource) (bool, error) {
	list, err := client.Discovery().ServerResourcesForGroupVersionWithContext(ctx, k.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for %s: %w", k.GroupVersion(), err)
	}
	for _, resource := range list.APIResources {
		if resource.Name == k.Resource {
			return true, nil
		}
	}
	return false, nil
}

// keep brings the report on a workload up to date: without images there is none.
func (r *reporter) keep(ctx context.Context, w Workload, images []finding) error {
	r.mu.Lock()
	kind, last := r.kind, r.written[w.UID]
	r.mu.Unlock()
	if kind == nil {
		return nil
	}
	if len(images) == 0 {
		if last.namespace == "" {
			return nil // not written by this replica: for the sweep
		}
		return r.remove(ctx, *kind, last.namespace, w.UID)
	}
	doc := kind.document(w, images, r.limit)
	if len(doc.Object["results"].([]any)) == 0 {
		return nil // nothing has been asked yet
	}
	raw, err := json.Marshal(doc.Object)
	if err != nil {
		return fmt.Errorf("make a report: %w", err)
	}
	sum := sha256.Sum256(raw)
	if sum == last.sum {
		return nil
	}
	_, err = r.dynamic.Resource(kind.GroupVersionResource).Namespace(w.Namespace).
		Apply(ctx, doc.GetName(), doc, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err = r.counted(err); err == nil {
		r.remember(w.UID, &writtenReport{w.Namespace, sum})
	}
	return err
}

// remove takes away the report of a workload that runs nothing any more.
func (r *reporter) remove(ctx context.Context, kind reportKind, namespace string, uid types.UID) error {
	err := r.dynamic.Resource(kind.GroupVersionResource).Namespace(namespace).Delete(ctx, reportName(uid), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	r.remember(uid, nil)
	return r.counted(err)
}

// remember notes what was written last, nil for nothing.
func (r *reporter) remember(uid types.UID, w *writtenReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w == nil {
		delete(r.written, uid)
		return
	}
	r.written[uid] = *w
}

// counted counts a write. That the namespace is on its way out, and takes no
// more, is no failure.
func (r *reporter) counted(err error) error {
	switch {
	case err == nil:
		r.figures.reports.WithLabelValues("written").Inc()
	case apierrors.HasStatusCause(err, "NamespaceTerminating") || apierrors.IsNotFound(err):
		return nil
	default:
		r.figures.reports.WithLabelValues("failed").Inc()
	}
	return err
}

// sweep removes the reports of workloads that do not run.
func (r *reporter) sweep(ctx context.Context, runs func(types.UID) bool) error {
	r.mu.Lock()
	kind := r.kind
	r.mu.Unlock()
	if kind == nil {
		return nil
	}
	var errs []error
	options := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(managed()).String(), Limit: listPage}
	for {
		page, err := r.dynamic.Resource(kind.GroupVersionResource).List(ctx, options)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list reports: %w", err))...)
		}
		for _, report := range page.Items {
			for _, owner := range report.GetOwnerReferences() {
				if report.GetName() == reportName(owner.UID) && !runs(owner.UID) {
					errs = append(errs, r.remove(ctx, *kind, report.GetNamespace(), owner.UID))
				}
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return errors.Join(errs...)
		}
	}
}
