package feeds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pratique/pratique/internal/feeds"
)

func TestRefresher(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	m.set(func(m *mirror) {
		m.fault = func(http.ResponseWriter, *http.Request) bool {
			asked <- struct{}{}
			<-answer
			return false
		}
	})
	var log bytes.Buffer
	changes := make(chan feeds.Result, 1)
	r := &feeds.Refresher{
		DataDir: dir, Config: m.config(), Client: http.DefaultClient, Log: slog.New(slog.NewJSONHandler(&log, nil)),
		OnChange: func(_ context.Context, res feeds.Result) { changes <- res },
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	<-asked
	if s := r.State(); !s.Running || !s.First {
		t.Errorf("during the first sync: %+v", s)
	}
	close(answer)
	if res := <-changes; !res.Changed {
		t.Errorf("first round: %+v", res)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := r.State(); s.Running || s.First || s.Error != "" || s.Last.Revision.Sequence != 1 || s.Ended.IsZero() || s.Progress.Step == "" {
		t.Errorf("at the end: %+v", s)
	}
	var line struct{ Msg, Source, Ecosystem string }
	if err := json.NewDecoder(&log).Decode(&line); err != nil || line.Msg != "feed refreshed" || line.Source != "osv" {
		t.Errorf("log: %+v, %v", line, err)
	}
}

func TestRefresherOutlivesFailures(t *testing.T) {
	t.Parallel()
	m, dir := newMirror(t), t.TempDir()
	sync(t, dir, m.config())
	m.Close()
	var log bytes.Buffer
	changes := make(chan feeds.Result, 1)
	r := &feeds.Refresher{
		DataDir: dir, Config: m.config(), Client: http.DefaultClient, Log: slog.New(slog.NewJSONHandler(&log, nil)),
		OnChange: func(_ context.Context, res feeds.Result) { changes <- res },
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	if res := <-changes; !res.Failed() || res.Changed || res.Revision.Sequence != 1 {
		t.Errorf("%+v", res)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !bytes.Contains(log.Bytes(), []byte(`"feed failed"`)) {
		t.Errorf("log: %s", log.Bytes())
	}
	if lookup(t, current(t, dir), "npm", "lodash") != 1 {
		t.Error("the index is gone")
	}
}

func TestConfigFromYAML(t *testing.T) {
	t.Parallel()
	dec := yaml.NewDecoder(bytes.NewReader([]byte(`
interval: 90m
sources:
  - {name: osv, url: "https://example.com/osv", ecosystems: [Debian]}
  - {name: nvd, url: "file:///srv/nvd"}
`)))
	dec.KnownFields(true)
	var cfg feeds.Config
	if err := dec.Decode(&cfg); err != nil || cfg.Validate() != nil || cfg.Interval != 90*time.Minute || len(cfg.Sources) != 2 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// TestRefresherTriesAgainSoon: a source that fails is asked again long before
// the next interval, and less and less often.
func TestRefresherTriesAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		r := &feeds.Refresher{
			DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), OnChange: func(context.Context, feeds.Result) { rounds.Add(1) },
			Config: feeds.Config{Interval: time.Hour, Sources: []feeds.Source{{Name: "gone", URL: "file:///no/such/folder"}}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		if n := rounds.Load(); n < 4 || n > 6 { // at 0, 30 s, 1.5 min, 3.5 min, 7.5 min
			t.Errorf("%d rounds in ten minutes of failure", n)
		}
		time.Sleep(12 * time.Hour)
		if n := rounds.Load(); n > 22 {
			t.Errorf("%d rounds in half a day of failure", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
