package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/gate"
)

// Home is where the processes are that judge: they are told of the exceptions of
// this cluster, and of what runs in it.
type Home interface {
	PutExceptions(ctx context.Context, cluster string, list []bundle.Exception) error
	PutRunning(ctx context.Context, cluster string, doc any) error
}

const (
	basisInterval = 2 * time.Second
	// homeInterval is how often home is told of what runs, if that has changed, and
	// homeAlways if not: it may have lost it.
	homeInterval, homeAlways = 10 * time.Second, 5 * time.Minute
	homeTimeout              = 10 * time.Second
	// maxTold bounds the images that home is told of, maxToldMessage their messages,
	// in bytes, and maxToldWorkloads the workloads of each.
	maxTold, maxToldMessage, maxToldWorkloads = 5000, 300, 20
	// renewal is how often the memory of what was admitted is renewed while it runs.
	renewal = 24 * time.Hour
)

// followBasis asks about every image as soon as they may stand differently.
func (i *Inventory) followBasis(ctx context.Context) {
	if i.basis == nil {
		return
	}
	tick := time.NewTicker(basisInterval)
	defer tick.Stop()
	last := i.basis(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// "" is what nobody can tell at the moment.
		if now := i.basis(ctx); now != "" && now != last {
			if last != "" {
				i.log.Info("policy, exceptions or data have changed: asking about all that runs", "images", len(i.table.subjects()))
				i.Recheck()
			}
			last = now
		}
	}
}

// compare finds out what admission let in under the name of an image that runs.
// That it cannot be found out is no news about the image.
func (i *Inventory) compare(ctx context.Context, s subject) {
	if i.admitted == nil || s.digest == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := i.admitted.Admitted(ctx, gate.Admitted{Cluster: i.cluster, Namespace: s.namespace, Reference: s.reference, Digest: s.digest})
	if err != nil {
		i.log.Debug("what was admitted is not known", "image", s.String(), "error", err)
		return
	}
	changed, renew := i.table.compare(s, found, i.now())
	if len(changed) > 0 && found != nil && found.Digest != s.digest {
		i.log.Warn("what runs is not what was admitted", "image", s.String(), "namespace", s.namespace, "admitted", found.Digest)
	}
	i.dirty(changed...)
	if renew && i.leads() {
		if err := i.admitted.StillRuns(ctx, *found); err != nil {
			i.log.Debug("what was admitted is not noted again", "image", s.String(), "error", err)
		}
	}
}

// RunningReport is what runs in a cluster, as home is told it.
type RunningReport struct {
	Cluster string    `json:"cluster"`
	At      time.Time `json:"at"`
	Pods    int       `json:"pods"`
	Images  []Running `json:"images"` // the worst first
	// More is how many images are not listed.
	More int `json:"more,omitempty"`
}

func (i *Inventory) runningReport() RunningReport {
	_, _, pods := i.table.count()
	r := RunningReport{Cluster: i.cluster, Pods: pods, Images: i.Running()}
	if r.More = max(len(r.Images)-maxTold, 0); r.More > 0 {
		r.Images = r.Images[:maxTold]
	}
	for n := range r.Images {
		if all := r.Images[n].Workloads; len(all) > maxToldWorkloads {
			r.Images[n].Workloads, r.Images[n].MoreWorkloads = all[:maxToldWorkloads], len(all)-maxToldWorkloads
		}
		r.Images[n].Standing.Message = cut(r.Images[n].Standing.Message, maxToldMessage)
	}
	return r
}

// tellHome tells what runs, while this replica leads.
func (i *Inventory) tellHome(ctx context.Context) {
	tick := time.NewTicker(homeInterval)
	defer tick.Stop()
	var told []byte
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !i.synced() {
			continue
		}
		r := i.runningReport()
		doc, err := json.Marshal(r.still())
		if err != nil || bytes.Equal(doc, told) && i.now().Sub(at) < homeAlways {
			continue
		}
		r.At = i.now().UTC()
		if err := i.putRunning(ctx, r); err != nil {
			i.complain(err)
			continue
		}
		told, at = doc, i.now()
	}
}

func (i *Inventory) putRunning(ctx context.Context, r RunningReport) error {
	ctx, cancel := context.WithTimeout(ctx, homeTimeout)
	defer cancel()
	return i.home.PutRunning(ctx, i.cluster, r)
}

// still is the report without what changes all the time.
func (r RunningReport) still() RunningReport {
	images := make([]Running, len(r.Images))
	for n, one := range r.Images {
		one.Asked = time.Time{}
		images[n] = one
	}
	r.Images = images
	return r
}
