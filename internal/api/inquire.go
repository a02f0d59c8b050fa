package api

import (
	"net/http"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
)

// inquire says how an image stands, by its digest and from what is known: for
// admission, which may not wait. With want=true an image that is not known is
// analysed, and the answer is still that of now.
func (a *API) inquire(w http.ResponseWriter, r *http.Request) error {
	var i gate.Inquiry
	if err := readJSON(w, r, &i); err != nil {
		return err
	}
	if err := image.SupportedDigest(i.Digest); err != nil {
		return refuse(http.StatusBadRequest, "digest: %v", err)
	}
	if t, err := a.Gate.Place(i.Reference); err == nil { // what has no place here is no secret
		if err := a.need(r.Context(), auth.Pull, t.Name()); err != nil {
			return err
		}
	}
	s := a.Gate.Standing(r.Context(), i)
	if flag(r, "want", false) && (s.State == gate.StateUnknown || s.State == gate.StatePending) {
		if err := a.Gate.Want(r.Context(), i); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, s)
	return nil
}
