package feeds

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Refresher syncs at start and then at every interval. Data that are loaded
// already serve on while sources cannot be reached. Its fields are set before
// Run and not changed after.
type Refresher struct {
	DataDir string
	Config  Config
	Client  *http.Client // nil: one that honours HTTP_PROXY
	Log     *slog.Logger
	// OnChange is called after every round that moved something on disk: the
	// index, or only the times of sync (Result.Changed tells which). Reload the
	// store there. May be nil.
	OnChange func(ctx context.Context, res Result)

	mu    sync.Mutex
	state State
}

// State tells what a Refresher does and how its last round went.
type State struct {
	Running  bool      `json:"running"`
	First    bool      `json:"first"` // no round has ended yet
	Progress Progress  `json:"progress"`
	Last     Result    `json:"last"`
	Error    string    `json:"error,omitempty"` // of the last round, when it could not be done
	Ended    time.Time `json:"ended,omitzero"`  // of the last round
}

// firstRetry is how soon a round that failed is tried again; each further
// failure doubles it, up to the interval. A machine that starts before its
// network must not refuse every pull for an hour.
const firstRetry = 30 * time.Second

// Run syncs until the context ends, and then returns nil: no failure of a
// source or of the disk ends it.
func (r *Refresher) Run(ctx context.Context) error {
	r.set(func(s *State) { s.First = true })
	retry := firstRetry
	for {
		pause := r.Config.interval()
		if r.round(ctx) {
			retry = firstRetry
		} else {
			pause, retry = min(pause, retry), min(2*retry, pause)
		}
		// A tenth of jitter keeps many installations from asking at one moment.
		timer := time.NewTimer(pause - pause/20 + rand.N(pause/10))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// State is safe to call at any time.
func (r *Refresher) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// round syncs once, and reports whether every source answered.
func (r *Refresher) round(ctx context.Context) bool {
	r.set(func(s *State) { s.Running, s.Progress = true, Progress{} })
	started := time.Now()
	res, err := Sync(ctx, r.DataDir, r.Config, r.Client, func(p Progress) {
		r.set(func(s *State) { s.Progress = p })
	})
	if ctx.Err() == nil {
		r.log(res, err, time.Since(started))
		if err == nil && r.OnChange != nil {
			r.OnChange(ctx, res)
		}
	}
	r.set(func(s *State) {
		s.Running, s.First, s.Last, s.Ended, s.Error = false, false, res, time.Now().UTC(), ""
		if err != nil {
			s.Error = err.Error()
		}
	})
	return err == nil && !res.Failed()
}

func (r *Refresher) set(change func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
}

func (r *Refresher) log(res Result, err error, took time.Duration) {
	if err != nil {
		r.Log.Error("feed failed", "error", err)
		return
	}
	for _, f := range res.Feeds {
		if f.State == StateFailed {
			r.Log.Warn("feed failed", "source", f.Source, "ecosystem", f.Ecosystem, "error", f.Error, "synced", f.Synced)
			continue
		}
		r.Log.Info("feed refreshed", "source", f.Source, "ecosystem", f.Ecosystem, "state", f.State, "records", f.Records, "skipped", f.Skipped)
	}
	for _, warning := range res.Warnings {
		r.Log.Warn("feed incomplete", "warning", warning)
	}
	r.Log.Info("feeds refreshed", "changed", res.Changed, "sequence", res.Revision.Sequence, "digest", res.Revision.Digest, "took", took)
}
