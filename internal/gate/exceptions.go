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

// MaxExceptions bounds those of one cluster.
const MaxExceptions = 2000

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
	own := ownedBy(cluster, list)
	_, err := bundle.NewExceptions(own)
	if err == nil && len(own) > MaxExceptions {
		err = fmt.Errorf("more than %d of one cluster", MaxExceptions)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	return g.putExceptions(ctx, cluster, own, g.Now())
}

// ownedBy makes exceptions those of a cluster, whatever they say.
func ownedBy(cluster string, list []bundle.Exception) []bundle.Exception {
	list = slices.Clone(list)
	for i := range list {
		list[i].Scope.Cluster = cluster
		if !strings.HasPrefix(list[i].ID, cluster+"/") {
			list[i].ID = cluster + "/" + list[i].ID
		}
	}
	return list
}

// errStale: what was sent before must not come back, by whichever way it was
// delayed.
var errStale = errors.New("sent before those in force: is a clock wrong?")

func (g *Gate) putExceptions(ctx context.Context, cluster string, list []bundle.Exception, sent time.Time) error {
	g.excepting.Lock()
	defer g.excepting.Unlock()
	if !clusterName(cluster) {
		return fmt.Errorf("%w: %q is no name of a cluster", ErrExceptions, cluster)
	}
	doc, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	before := g.excepted.Load().of(cluster)
	if bytes.Equal(before.Doc, doc) {
		return nil
	}
	if sent.Unix() < before.Sent.Unix() {
		return errStale
	}
	entry := catalog.AuditEntry{Kind: audit.Exceptions, Principal: "cluster " + cluster, Message: difference(before.Doc, list)}
	if err := g.Audit.Add(ctx, entry); err != nil { // what is not on record does not hold
		return err
	}
	if err := g.Catalog.PutExceptions(ctx, cluster, catalog.Exceptions{Doc: doc, Sent: sent}); err != nil {
		return fmt.Errorf("store the exceptions of cluster %q: %w", cluster, err)
	}
	if err := g.loadExceptions(ctx); err != nil {
		return err
	}
	g.Log.Info("exceptions changed", "cluster", cluster, "change", entry.Message)
	g.publish(ctx)
	return nil
}

// clusterName reports whether a cluster can be called that: it stands in keys and
// addresses.
func clusterName(s string) bool {
	return s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

func (x *exceptions) of(cluster string) catalog.Exceptions {
	if x == nil {
		return catalog.Exceptions{}
	}
	return x.stored[cluster]
}

// maxDifference bounds what the audit trail says of one change, in bytes.
const maxDifference = 2000

// difference says what has changed, for the audit trail.
func difference(before []byte, now []bundle.Exception) string {
	var old []bundle.Exception
	_ = json.Unmarshal(before, &old) // what cannot be read any more counts as new
	was := map[string]string{}
	for _, e := range old {
		was[e.ID] = inShort(e)
	}
	var parts []string
	for _, e := range now {
		text := inShort(e)
		switch earlier, ok := was[e.ID]; {
		case !ok:
			parts = append(parts, "added "+text)
		case earlier != text:
			parts = append(parts, "changed "+text)
		}
		delete(was, e.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		parts = append(parts, "removed "+id)
	}
	text := strings.Join(parts, "; ")
	if len(text) > maxDifference {
		text = strings.ToValidUTF8(text[:maxDifference], "") + fmt.Sprintf("... (%d changes)", len(parts))
	}
	return clean(text)
}

// inShort is everything that an exception says.
func inShort(e bundle.Exception) string {
	var findings []string
	for _, f := range e.Findings {
		findings = append(findings, strings.TrimSuffix(f.Gate+" "+f.TriggerID+" "+f.PackageVersion, " "))
	}
	text := fmt.Sprintf("%s by %s until %s: %v %v in %v for %v", e.ID, e.Owner, e.Expires.UTC().Format(time.RFC3339), e.Scope.Images, e.Scope.Digests, e.Scope.Namespaces, findings)
	if e.Scope.Pulls {
		text += ", for pulls too"
	}
	return text + " (" + e.Reason + ")"
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

// poke has what clusters have left looked at now.
func (g *Gate) poke() {
	select {
	case g.left <- struct{}{}:
	default: // publishLoop has not come to the last one yet
	}
}

// maxSent bounds the exceptions of a cluster in Redis, in bytes.
const maxSent = 4 << 20

// takings is what publishLoop remembers of what it has taken out of Redis.
type takings map[string][]byte

// take takes what clusters have left in Redis. Of one that is wrong the others are
// taken: a deletion must not wait for somebody else's mistake.
func (t takings) take(ctx context.Context, g *Gate) {
	left, err := g.Verdicts.Shared.Left(ctx, verdicts.Exceptions)
	if err != nil {
		g.Log.Debug("exceptions not read", "error", err) // Redis is away, which is said elsewhere
		return
	}
	for cluster, doc := range left {
		if bytes.Equal(t[cluster], doc) {
			continue
		}
		if err := g.takeFrom(ctx, cluster, doc); err != nil && ctx.Err() == nil {
			g.Log.Warn("exceptions not taken", "cluster", cluster, "error", err)
			if !errors.Is(err, errStale) && !errors.Is(err, ErrExceptions) {
				continue // once more in the next round
			}
		}
		t[cluster] = doc
	}
}

func (g *Gate) takeFrom(ctx context.Context, cluster string, doc []byte) error {
	if len(doc) > maxSent {
		return fmt.Errorf("%w: more than %d bytes", ErrExceptions, maxSent)
	}
	var s sentExceptions
	if err := json.Unmarshal(doc, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	sound, err := bundle.NewExceptions(ownedBy(cluster, s.List))
	if err != nil {
		g.Log.Warn("exceptions left out", "cluster", cluster, "error", err)
	}
	list := sound.List()
	if len(list) > MaxExceptions {
		g.Log.Warn("exceptions left out", "cluster", cluster, "error", fmt.Sprintf("more than %d", MaxExceptions))
		list = list[:MaxExceptions]
	}
	if now := g.Now(); s.Sent.After(now) { // a clock that is fast must not keep others from being heard
		s.Sent = now
	}
	return g.putExceptions(ctx, cluster, list, s.Sent)
}

// PutExceptions lets the processes that judge know the exceptions of a cluster.
func (r *Remote) PutExceptions(ctx context.Context, cluster string, list []bundle.Exception) error {
	if len(list) > MaxExceptions {
		return fmt.Errorf("%w: more than %d of one cluster", ErrExceptions, MaxExceptions)
	}
	return r.shared.Leave(ctx, verdicts.Exceptions, cluster, sentExceptions{r.now(), list})
}
