package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/catalog"
	"github.com/pratique/pratique/internal/gate"
)

// statusAnswer is how the whole is doing.
type statusAnswer struct {
	Version  string         `json:"version"`
	Ready    bool           `json:"ready"`
	Reason   string         `json:"reason,omitempty"` // why it is not ready
	Registry string         `json:"registry"`         // address to pull from and push to
	Mode     string         `json:"mode"`             // of the gate, where no rule says otherwise
	Policy   *applied       `json:"policy,omitempty"` // the active one
	Syncing  string         `json:"syncing,omitempty"`
	Data     *dataState     `json:"data,omitempty"`
	Feeds    []feedState    `json:"feeds"`
	Counts   catalog.Counts `json:"counts"`
}

// dataState is the vulnerability data in force.
type dataState struct {
	advisory.Revision
	Synced time.Time `json:"synced,omitzero"` // of the feed that has waited longest
	Age    int64     `json:"age_seconds"`     // since then; -1 when a feed was never synced
}

// feedState is a feed with the time since it was last brought up to date.
type feedState struct {
	advisory.FeedStatus
	Age int64 `json:"age_seconds"` // -1: never
}

func (a *API) status(w http.ResponseWriter, r *http.Request) error {
	s, err := a.state(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s)
	return nil
}

func (a *API) state(ctx context.Context) (*statusAnswer, error) {
	s := &statusAnswer{
		Version: a.Version, Ready: true, Registry: a.RegistryHost, Mode: a.Gate.Config().Mode, Syncing: a.Gate.Syncing(), Data: a.data(), Feeds: []feedState{},
	}
	if err := a.Gate.Ready(ctx); err != nil {
		s.Ready, s.Reason = false, a.unready(err)
	}
	if b, err := a.Gate.ActivePolicy(); err == nil {
		s.Policy = &applied{ID: b.ID, Name: b.Name}
	}
	feeds, err := a.feeds()
	if err != nil {
		return nil, err
	}
	for _, f := range feeds {
		s.Feeds = append(s.Feeds, feedState{f, a.age(f.Synced)})
	}
	s.Counts, err = a.Catalog.Counts(ctx)
	return s, err
}

// data describes the vulnerability data in force, nil when there are none.
func (a *API) data() *dataState {
	snapshot, ok := a.Gate.Data.Current()
	if !ok {
		return nil
	}
	defer snapshot.Release()
	synced := snapshot.Synced()
	return &dataState{Revision: snapshot.Revision(), Synced: synced, Age: a.age(synced)}
}

func (a *API) age(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return int64(a.now().Sub(t).Seconds())
}

const (
	defaultEvents = 50
	maxEvents     = 1000
)

// events lists what happened, newest first: verdicts that flipped, policies that
// were activated, pushes that were refused.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Pull, ""); err != nil { // they name any repository
		return err
	}
	limit := defaultEvents
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxEvents {
			return refuse(http.StatusBadRequest, "limit: want a number from 1 to %d", maxEvents)
		}
		limit = n
	}
	events, err := a.Catalog.Events(r.Context(), limit)
	if err != nil {
		return err
	}
	if events == nil {
		events = []catalog.Event{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"events": events})
	return nil
}

// eventLine is an event in one sentence, and the image that it is about.
type eventLine struct {
	At     time.Time
	Kind   string
	Text   string
	Digest string
}

func line(e catalog.Event) eventLine {
	l := eventLine{At: e.At, Kind: e.Kind}
	var d struct {
		Manifest     string        `json:"manifest"`
		Repository   string        `json:"repository"`
		Repositories []string      `json:"repositories"`
		Tag          string        `json:"tag"`
		From         policy.Action `json:"from"`
		To           policy.Action `json:"to"`
		Policy       string        `json:"policy"`
		Name         string        `json:"name"`
		Message      string        `json:"message"`
	}
	if err := json.Unmarshal(e.Doc, &d); err != nil {
		return l // the kind and the time are all that can be told
	}
	name := d.Repository
	if len(d.Repositories) > 0 {
		name = d.Repositories[0]
	}
	if d.Tag != "" {
		name += ":" + d.Tag
	}
	l.Digest = d.Manifest
	switch e.Kind {
	case gate.EventFlipped:
		l.Text = name + " went from " + d.From.String() + " to " + d.To.String() + " under policy " + strconv.Quote(d.Policy)
	case gate.EventActivated:
		l.Text = "policy " + strconv.Quote(cmp.Or(d.Name, d.Policy)) + " is in force"
	default:
		l.Text = strings.TrimPrefix(name+": "+d.Message, ": ")
	}
	return l
}
