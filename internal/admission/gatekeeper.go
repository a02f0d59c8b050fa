package admission

import (
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/gate"
)

// externalData is the API of Gatekeeper's providers of external data.
const externalData = "externaldata.gatekeeper.sh/v1beta1"

// maxKeys bounds the images of one request; Gatekeeper asks for those of one
// object, or of one step of an audit.
const maxKeys = 1024

// providerRequest is what Gatekeeper asks.
type providerRequest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Request    struct {
		Keys []string `json:"keys"`
	} `json:"request"`
}

// providerResponse is the answer: a value, or an error, for each key.
type providerResponse struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Response   providerAnswers `json:"response"`
}

type providerAnswers struct {
	Idempotent  bool           `json:"idempotent"`
	Items       []providerItem `json:"items"`
	SystemError string         `json:"systemError,omitempty"`
}

type providerItem struct {
	Key   string         `json:"key"`
	Value *providerValue `json:"value,omitempty"`
	Error string         `json:"error,omitempty"`
}

// providerValue is what is known of an image.
type providerValue struct {
	Digest  digest.Digest `json:"digest"`
	State   gate.State    `json:"state"`
	Answer  string        `json:"answer"` // deny, warn or allow
	Policy  string        `json:"policy,omitempty"`
	Message string        `json:"message,omitempty"`
	Report  string        `json:"report,omitempty"`
}

// gatekeeper answers /gatekeeper. Keys are images: nothing is known of the object
// or its namespace, so only selectors of images apply, and there are no pull
// secrets.
func (w *Webhook) gatekeeper(rw http.ResponseWriter, r *http.Request) error {
	begun := time.Now()
	ctx, cancel, err := deadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	var asked providerRequest
	if err := readJSON(rw, r, &asked); err != nil {
		return err
	}
	if asked.APIVersion != externalData || asked.Kind != "ProviderRequest" {
		return bad(http.StatusBadRequest, "want a ProviderRequest of %s", externalData)
	}
	if len(asked.Request.Keys) > maxKeys {
		return bad(http.StatusBadRequest, "more than %d keys", maxKeys)
	}
	q := &question{subject: subject{lookUp: w.lookUp("")}}
	for _, key := range asked.Request.Keys {
		q.images = append(q.images, slot{path: key, image: key})
	}
	d := w.decide(ctx, w.rules.Load(), q)
	w.noted(r.Context(), d)
	w.figures.plain("gatekeeper", d.answer, time.Since(begun))
	res := providerResponse{APIVersion: externalData, Kind: "ProviderResponse", Response: providerAnswers{Idempotent: true, Items: []providerItem{}}}
	items := map[string]providerItem{}
	for _, o := range d.outcomes {
		items[o.paths[0]] = o.item()
	}
	for _, key := range asked.Request.Keys { // in their order
		if item, ok := items[key]; ok {
			res.Response.Items = append(res.Response.Items, item)
			delete(items, key)
		}
	}
	writeJSON(rw, http.StatusOK, res)
	return nil
}

func (o outcome) item() providerItem {
	item := providerItem{Key: o.paths[0]}
	if o.answer == Fail {
		item.Error = cut(o.standing.Message, maxMessage)
		return item
	}
	item.Value = &providerValue{Digest: o.digest, State: o.state, Answer: o.answer, Policy: o.standing.Policy, Report: o.standing.Report}
	if o.answer != Allow {
		item.Value.Message = o.words(maxMessage)
	}
	return item
}
