package api

import (
	"net/http"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

// apiVersion is the version of Anchore's API document that this one follows.
const apiVersion = "0.1.20"

// alive answers as long as the process does.
func (a *API) alive(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	return nil
}

// ready says whether images can be judged, and if not, why.
func (a *API) ready(w http.ResponseWriter, r *http.Request) error {
	status, reason := http.StatusOK, "ready"
	if err := a.Gate.Ready(r.Context()); err != nil {
		status, reason = http.StatusServiceUnavailable, a.unready(err)
	}
	if wantsJSON(r) {
		writeJSON(w, status, map[string]any{"ready": status == http.StatusOK, "reason": reason})
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(reason + "\n")) // a client that has gone away is no error
	return nil
}

// unready puts the reason into words that may leave the process.
func (a *API) unready(err error) string {
	if told := explained(err); told != nil {
		return told.message
	}
	if _, err := a.Gate.ActivePolicy(); err != nil {
		return "no policy is active: activate one with `pratique policy activate ID`"
	}
	a.Log.Warn("not ready", "error", err)
	return "not ready; the log of pratique says why"
}

// anchoreRoot is what anchore-cli asks to see whether its credentials are good.
func (a *API) anchoreRoot(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, "v1")
	return nil
}

// version has an empty api object: Anchore's admission controller stumbles over
// a version in there.
func (a *API) version(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{
		"service": map[string]any{"version": a.Version}, "api": map[string]any{}, "db": map[string]any{"schema_version": dbVersion},
	})
	return nil
}

// dbVersion is what Anchore Engine 1.1 says; its clients show it and use it for
// nothing.
const dbVersion = "0.0.16"

// swagger holds what anchore-cli reads of the API document: its version.
func (a *API) swagger(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{
		"swagger": "2.0", "info": map[string]any{"title": "Pratique, after Anchore Engine API", "version": apiVersion}, "paths": map[string]any{},
	})
	return nil
}

// serviceStatus is Anchore's status of one service.
type serviceStatus struct {
	Available bool           `json:"available"`
	Busy      bool           `json:"busy"`
	Up        bool           `json:"up"`
	Message   string         `json:"message"`
	Version   string         `json:"version"`
	DBVersion string         `json:"db_version"`
	Detail    map[string]any `json:"detail"`
}

func (a *API) service(r *http.Request) serviceStatus {
	s := serviceStatus{Available: true, Up: true, Message: "all good", Version: a.Version, DBVersion: dbVersion, Detail: map[string]any{}}
	if err := a.Gate.Ready(r.Context()); err != nil {
		s.Available, s.Message = false, a.unready(err)
	}
	s.Busy = a.Gate.Syncing() != ""
	return s
}

func (a *API) anchoreStatus(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, a.service(r))
	return nil
}

// anchoreSystem lists the services that Anchore's clients wait for. All of them
// are this one process.
func (a *API) anchoreSystem(w http.ResponseWriter, r *http.Request) error {
	s, base := a.service(r), "http://"+r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	states := []map[string]any{}
	for _, name := range []string{"apiext", "catalog", "policy_engine", "simplequeue", "analyzer"} {
		states = append(states, map[string]any{
			"servicename": name, "hostid": "pratique", "base_url": base, "status": s.Up, "status_message": s.Message,
			"version": "v1", "service_detail": s,
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{"service_states": states})
	return nil
}

// anchoreFeeds lists all feeds as groups of one, as Anchore's clients know it.
func (a *API) anchoreFeeds(w http.ResponseWriter, _ *http.Request) error {
	feeds, err := a.feeds()
	if err != nil {
		return err
	}
	groups, last := []map[string]any{}, time.Time{}
	for _, f := range feeds {
		groups = append(groups, map[string]any{
			"name": f.Source + ":" + f.Ecosystem, "enabled": true, "created_at": nil, "last_sync": stamp(f.Synced), "record_count": f.Records,
		})
		if f.Synced.After(last) {
			last = f.Synced
		}
	}
	writeJSON(w, http.StatusOK, []map[string]any{{
		"name": "vulnerabilities", "enabled": true, "created_at": nil, "updated_at": stamp(last), "last_full_sync": stamp(last), "groups": groups,
	}})
	return nil
}

func (a *API) feeds() ([]advisory.FeedStatus, error) {
	if a.Feeds == nil {
		return nil, nil
	}
	return a.Feeds()
}

// stamp writes a time as Anchore does; null for none.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}
