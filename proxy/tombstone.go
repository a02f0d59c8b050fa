package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/lru"
)

// A containerd that is configured with mirrors goes on to the next host, in the
// end the registry behind, when this one refuses a tag, whatever the status. What
// stops it is an answer: a manifest of ours that stands for the refusal. Its
// digest exists nowhere else, and here it is refused with the reason.

// maxStones bounds the tombstones that are remembered. One that is forgotten is
// an unknown manifest: the pull fails all the same, without the reason.
const maxStones = 10_000

// refusalType is the artifact type of tombstones.
const refusalType = "application/vnd.pratique.refusal.v1+json"

// tombstones remember what stands behind the digests of refusals.
type tombstones struct {
	all *lru.Cache[digest.Digest, string]
}

func newTombstones() tombstones {
	return tombstones{lru.New[digest.Digest](maxStones, lru.Each[string])}
}

// text is the message of a tombstone, "" if the digest is none.
func (t tombstones) text(d digest.Digest) string {
	message, _ := t.all.Get(d)
	return message
}

// refuseTag answers what cannot be served: with the error, or, where a mirror's
// client would go on to the registry behind, with a tombstone. That there is no
// such thing is no refusal.
func (p *Proxy) refuseTag(w http.ResponseWriter, r *http.Request, q request, tag string, refusal error) error {
	f := translate(refusal)
	refused := f.status == http.StatusForbidden || f.status == http.StatusTooManyRequests || f.status >= 500
	if !refused || !p.buries(q, tag) {
		return refusal
	}
	return p.bury(w, r, q, refusal)
}

// buries reports whether refusals of this request are answered with tombstones.
func (p *Proxy) buries(q request, tag string) bool {
	return q.namespace != "" && tag != "" && p.Gate.Config().For(q.target.Name()).Tombstones == gate.Allow
}

// bury answers a refused tag with its tombstone. The refusal is on record as any.
func (p *Proxy) bury(w http.ResponseWriter, r *http.Request, q request, refusal error) error {
	if err := p.noteRefusal(r.Context(), q, refusal); err != nil {
		return err
	}
	message := brief(translate(refusal).message)
	m, err := tombstone(q.target.Name()+":"+q.vars["reference"], message)
	if err != nil {
		return err
	}
	p.stones.all.Put(m.Digest, message)
	return writeManifest(w, r, m, m.Digest)
}

// tombstone is an artifact without content: what refused it says why.
func tombstone(reference, message string) (*image.Manifest, error) {
	empty := image.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digest.FromString("{}"), Size: 2}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest, "artifactType": refusalType,
		"config": empty, "layers": []image.Descriptor{empty},
		"annotations": map[string]string{"pratique.refused": reference, "pratique.reason": message},
	})
	if err != nil {
		return nil, fmt.Errorf("write tombstone: %w", err)
	}
	return image.ParseManifest(raw, "")
}
