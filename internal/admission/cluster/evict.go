package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/internal/gate"
)

// EvictionConfig says whether pods are taken away whose images policy stops.
type EvictionConfig struct {
	// Enabled switches eviction on. Default off: whether what takes a pod's place
	// is admitted is not looked at.
	Enabled bool `yaml:"enabled"`
	// PerMinute bounds how many pods go in a minute. Default 1.
	PerMinute int `yaml:"per_minute"`
	// After is how long an image has to stand at fail before its pods go, so that
	// there is time for an exception. Default 10m.
	After time.Duration `yaml:"after"`
	// Except are namespaces that are left alone, besides Pratique's own and those
	// of Kubernetes itself (kube-system, kube-public, kube-node-lease).
	Except []string `yaml:"except"`
}

// Validate says what is wrong with the configuration.
func (c EvictionConfig) Validate() error {
	if c.PerMinute < 0 || c.PerMinute > 60 {
		return errors.New("per_minute: want at most 60")
	}
	if c.After < 0 {
		return errors.New("after: negative")
	}
	return nil
}

func (c EvictionConfig) withDefaults() EvictionConfig {
	if c.PerMinute == 0 {
		c.PerMinute = 1
	}
	if c.After == 0 {
		c.After = 10 * time.Minute
	}
	return c
}

// exempt are the namespaces that no pod is evicted from, whatever is configured.
var exempt = []string{"kube-system", "kube-public", "kube-node-lease"}

// candidate is a pod that should go.
type candidate struct {
	podEntry
	workload Workload
	guilty   []subject
}

// evictions takes pods away, one at a time and evenly over the minute, while
// this replica leads.
func (i *Inventory) evictions(ctx context.Context, h *herald) {
	if !i.config.Eviction.Enabled {
		return
	}
	tried := map[types.UID]time.Time{} // workloads, by when one of their pods was last tried
	ticker := time.NewTicker(time.Minute / time.Duration(i.config.Eviction.PerMinute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			i.evictOne(ctx, h, tried)
		}
	}
}

// evictOne tries the next pod that should go. A workload is given a minute
// between two of its pods, and one whose budget allows no disruption does not
// keep the others from theirs.
func (i *Inventory) evictOne(ctx context.Context, h *herald, tried map[types.UID]time.Time) {
	now := i.now()
	for uid, at := range tried {
		if now.Sub(at) >= time.Minute {
			delete(tried, uid)
		}
	}
	c, ok := i.table.candidate(now.Add(-i.config.Eviction.After), func(p podEntry) bool {
		_, recently := tried[p.workload]
		return recently || i.spared(p.namespace)
	})
	if !ok {
		return
	}
	tried[c.workload.UID] = now
	st, stopped := i.stillStopped(ctx, c.guilty)
	if !stopped {
		return
	}
	result, err := i.evict(ctx, c)
	i.figures.evictions.WithLabelValues(result).Inc()
	if err != nil {
		i.complain(fmt.Errorf("evict pod %s/%s: %w", c.namespace, c.name, err))
		return
	}
	if result == "evicted" {
		i.log.Warn("pod evicted", "pod", c.namespace+"/"+c.name, "workload", c.workload.String(), "message", st.Message)
		h.evicted(c.workload, c.name, st.Message)
	}
}

func (i *Inventory) spared(namespace string) bool {
	return namespace == i.own || slices.Contains(exempt, namespace) || slices.Contains(i.config.Eviction.Except, namespace)
}

// stillStopped asks once more, now: what was noted may be minutes old.
func (i *Inventory) stillStopped(ctx context.Context, guilty []subject) (gate.Standing, bool) {
	for _, s := range guilty {
		if st := i.standing(ctx, s); st.State == gate.StateFail {
			return st, true
		}
	}
	return gate.Standing{}, false
}

// evict asks for the eviction of this very pod, not of another of its name.
func (i *Inventory) evict(ctx context.Context, c candidate) (result string, err error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	err = i.client.PolicyV1().Evictions(c.namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: c.namespace, Name: c.name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.uid}},
	})
	switch {
	case err == nil:
		return "evicted", nil
	case apierrors.IsTooManyRequests(err): // a PodDisruptionBudget
		return "held", nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return "gone", nil
	}
	return "failed", err
}

// candidate returns a pod that runs an image which has stood at fail since
// before, the first by name of those that skip does not pass over.
func (t *table) candidate(before time.Time, skip func(podEntry) bool) (candidate, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first *candidate
	for _, p := range t.pods {
		if !p.evictable || first != nil && strings.Compare(p.namespace+"/"+p.name, first.namespace+"/"+first.name) >= 0 || skip(*p) {
			continue
		}
		var guilty []subject
		for _, s := range p.subjects {
			if e := t.images[s]; e.standing.State == gate.StateFail && e.decided == gate.StateFail && !e.since.After(before) {
				guilty = append(guilty, s)
			}
		}
		if guilty != nil {
			first = &candidate{*p, t.workloads[p.workload].Workload, guilty}
		}
	}
	if first == nil {
		return candidate{}, false
	}
	return *first, true
}
