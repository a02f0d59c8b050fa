package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/pratique/pratique/internal/verdicts"
)

// maxRunning bounds what one cluster tells, in bytes.
const maxRunning = 16 << 20

// ErrRunning: what a cluster tells of what runs is not what it should be.
var ErrRunning = errors.New("what runs is not taken")

// PutRunning keeps what a cluster tells of what runs in it. It is not judged by:
// people look at it.
func (g *Gate) PutRunning(ctx context.Context, cluster string, doc any) error {
	raw, err := json.Marshal(doc)
	if err != nil || cluster == "" || len(raw) > maxRunning {
		return fmt.Errorf("%w: want the name of a cluster, and at most %d bytes of JSON", ErrRunning, maxRunning)
	}
	g.running.Lock()
	g.runs[cluster] = raw
	g.running.Unlock()
	if g.Verdicts.Shared == nil {
		return nil
	}
	return g.Verdicts.Shared.Leave(ctx, verdicts.Running, cluster, json.RawMessage(raw))
}

// Running is what clusters tell of what runs in them, by their names: those that
// speak to this process, and those that others hear.
func (g *Gate) Running(ctx context.Context) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	if g.Verdicts.Shared != nil {
		left, err := g.Verdicts.Shared.Left(ctx, verdicts.Running)
		if err != nil {
			g.Log.Warn("what runs not read", "error", err)
		}
		maps.Copy(all, left)
	}
	g.running.Lock()
	defer g.running.Unlock()
	for cluster, doc := range g.runs {
		if all[cluster] == nil { // Redis has what was told last, whoever heard it
			all[cluster] = doc
		}
	}
	return all
}

// PutRunning lets people see what runs, by the processes that have pages.
func (r *Remote) PutRunning(ctx context.Context, cluster string, doc any) error {
	return r.shared.Leave(ctx, verdicts.Running, cluster, doc)
}
