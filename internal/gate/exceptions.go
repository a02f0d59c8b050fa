package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/audit"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/verdicts"
)

// Who may be told by exceptions from clusters.
const (
	ExceptionsPulls     = "pulls"     // they hold as they say
	ExceptionsAdmission = "admission" // never for pulls and pushes, whatever they say
	ExceptionsNone      = "none"      // not at all
)

// maxExceptions bounds those of one cluster.
const maxExceptions = 2000

// ErrExceptions: a cluster's exceptions are not what they should be.
var ErrExceptions = errors.New("exceptions not taken")

// exceptions are those in force, and as they were sent.
type exceptions struct {
	compiled *bundle.Exceptions
	list     []bundle.Exception
	stored   map[string]catalog.Exceptions // by cluster
}

// sentExceptions are those of a cluster, as they lie in Redis.
type sentExceptions struct {
	Sent time.Time          `json:"sent"`
	List []bundle.Exception `json:"list"`
}

// PutExceptions takes the exceptions of a cluster in place of those before, at
// once. None is taken if one is wrong.
func (g *Gate) PutExceptions(ctx context.Context, cluster string, list []bundle.Exception) error {
	return g.putExceptions(ctx, cluster, sentExceptions{g.Now(), list})
}

func (g *Gate) putExceptions(ctx context.Context, cluster string, s sentExceptions) error {
	list := s.List
	g.excepting.Lock()
	defer g.excepting.Unlock()
	if cluster == "" || len(list) > maxExceptions {
		return fmt.Errorf("%w: want the name of a cluster, and at most %d exceptions", ErrExceptions, maxExceptions)
	}
	list = slices.Clone(list)
	var ids []string
	for i := range list {
		list[i].Scope.Cluster = cluster
		if !strings.HasPrefix(list[i].ID, cluster+"/") {
			list[i].ID = cluster + "/" + list[i].ID
		}
		ids = append(ids, list[i].ID)
	}
	if _, err := bundle.NewExceptions(list); err != nil {
		return fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	doc, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	if now := g.excepted.Load(); now != nil {
		before := now.stored[cluster]
		// What was sent before must not come back, by whichever way it was delayed.
		if bytes.Equal(before.Doc, doc) || s.Sent.Unix() < before.Sent.Unix() {
			return nil
		}
	}
	if err := g.Catalog.PutExceptions(ctx, cluster, catalog.Exceptions{Doc: doc, Sent: s.Sent}); err != nil {
		return fmt.Errorf("store the exceptions of cluster %q: %w", cluster, err)
	}
	if err := g.loadExceptions(ctx); err != nil {
		return err
	}
	g.Log.Info("exceptions changed", "cluster", cluster, "exceptions", ids)
	g.publish(ctx)
	entry := catalog.AuditEntry{Kind: audit.Exceptions, Principal: "cluster " + cluster, Message: fmt.Sprintf("%d exceptions: %s", len(ids), strings.Join(ids, ", "))}
	return g.Audit.Add(ctx, entry)
}

// Exceptions are those that clusters have, in the order of their ids, whether
// gate.cluster_exceptions lets them hold or not.
func (g *Gate) Exceptions() []bundle.Exception {
	if now := g.excepted.Load(); now != nil {
		return now.list
	}
	return nil
}

// Beside are the exceptions in force, for selections.
func (g *Gate) Beside() *bundle.Exceptions {
	if now := g.excepted.Load(); now != nil {
		return now.compiled
	}
	return nil
}

// loadExceptions takes into use what the catalog has, as far as the configuration
// lets it hold.
func (g *Gate) loadExceptions(ctx context.Context) error {
	stored, err := g.Catalog.Exceptions(ctx)
	if err != nil {
		return fmt.Errorf("read exceptions: %w", err)
	}
	now := &exceptions{stored: stored}
	for _, cluster := range slices.Sorted(maps.Keys(stored)) {
		var list []bundle.Exception
		if err := json.Unmarshal(stored[cluster].Doc, &list); err != nil {
			return fmt.Errorf("read the exceptions of cluster %q: %w", cluster, err)
		}
		now.list = append(now.list, list...)
	}
	if now.compiled, err = bundle.NewExceptions(g.holding(now.list)); err != nil {
		g.Log.Error("exceptions left out", "error", err) // of another version; what is left out excepts nothing
	}
	g.excepted.Store(now)
	return nil
}

// holding are the exceptions as the configuration lets them hold.
func (g *Gate) holding(list []bundle.Exception) []bundle.Exception {
	switch g.Config().ClusterExceptions {
	case ExceptionsNone:
		return nil
	case ExceptionsAdmission:
		list = slices.Clone(list)
		for i := range list {
			list[i].Scope.Pulls = false
		}
	}
	return list
}

// takeExceptions takes what clusters have left in Redis. One that cannot be taken
// leaves the ones before in force.
func (g *Gate) takeExceptions(ctx context.Context) {
	left, err := g.Verdicts.Shared.Left(ctx, verdicts.Exceptions)
	if err != nil {
		return // Redis is away: publish says so
	}
	for cluster, doc := range left {
		var s sentExceptions
		err := json.Unmarshal(doc, &s)
		if err == nil {
			err = g.putExceptions(ctx, cluster, s)
		}
		if err != nil && ctx.Err() == nil {
			g.Log.Warn("exceptions not taken", "cluster", cluster, "error", err)
		}
	}
}

// PutExceptions lets the processes that judge know the exceptions of a cluster.
func (r *Remote) PutExceptions(ctx context.Context, cluster string, list []bundle.Exception) error {
	return r.shared.Leave(ctx, verdicts.Exceptions, cluster, sentExceptions{r.now(), list})
}
