package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
)

// maxCluster bounds what a cluster sends, in bytes.
const maxCluster = 16 << 20

// exceptionAnswer is an exception, and whether it holds.
type exceptionAnswer struct {
	bundle.Exception
	State string `json:"state"` // active, or expired
}

// listExceptions answers the exceptions that clusters keep as objects.
func (a *API) listExceptions(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Pull, ""); err != nil { // they name any repository
		return err
	}
	all := []exceptionAnswer{}
	for _, e := range a.Gate.Exceptions() {
		state := "active"
		if !a.now().Before(e.Expires) {
			state = "expired"
		}
		all = append(all, exceptionAnswer{e, state})
	}
	writeJSON(w, http.StatusOK, map[string]any{"exceptions": all, "hold": a.Gate.Config().ClusterExceptions})
	return nil
}

// putExceptions takes those of one cluster, all of them.
func (a *API) putExceptions(w http.ResponseWriter, r *http.Request) error {
	var list []bundle.Exception
	if err := a.fromCluster(w, r, &list); err != nil {
		return err
	}
	err := a.Gate.PutExceptions(r.Context(), mux.Vars(r)["cluster"], list)
	return taken(w, err, gate.ErrExceptions)
}

// listRunning answers what runs in the clusters.
func (a *API) listRunning(w http.ResponseWriter, r *http.Request) error {
	if err := a.need(r.Context(), auth.Pull, ""); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"clusters": a.Gate.Running(r.Context())})
	return nil
}

// putRunning takes what runs in one cluster.
func (a *API) putRunning(w http.ResponseWriter, r *http.Request) error {
	var doc json.RawMessage
	if err := a.fromCluster(w, r, &doc); err != nil {
		return err
	}
	err := a.Gate.PutRunning(r.Context(), mux.Vars(r)["cluster"], doc)
	return taken(w, err, gate.ErrRunning)
}

// fromCluster reads what the admission of a cluster sends.
func (a *API) fromCluster(w http.ResponseWriter, r *http.Request, into any) error {
	if err := a.need(r.Context(), auth.Admin, ""); err != nil {
		return err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCluster))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	var large *http.MaxBytesError
	if err != nil && !errors.As(err, &large) {
		return refuse(http.StatusBadRequest, "the body is not the JSON that is wanted here: %v", err)
	}
	return err
}

// taken answers that something was taken, or what is wrong with it.
func taken(w http.ResponseWriter, err, wrong error) error {
	if errors.Is(err, wrong) {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if err == nil {
		writeJSON(w, http.StatusOK, map[string]any{})
	}
	return err
}
