package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique/pratique/internal/serve"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// mutate answers /mutate: images are pinned and led through the proxy. It refuses
// nothing: an image that cannot be resolved stays as it is, and /validate has
// the last word. Called again on its own result, it changes nothing.
func (w *Webhook) mutate(rw http.ResponseWriter, r *http.Request) error {
	return w.review(rw, r, "mutate", func(ctx context.Context, rs *rules, req *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
		res := &admissionv1.AdmissionResponse{Allowed: true}
		if !rs.Mutation.any() || rs.exempt(req.Namespace) || matchesAny(rs.Mutation.Except, req.Namespace) {
			return res, nil
		}
		o, images, err := rs.look(req)
		if err != nil || len(images) == 0 || mirror(req, o) {
			return res, nil // what cannot be read is for /validate to refuse
		}
		out, err := w.optedOut(ctx, req)
		if err != nil {
			w.log.Warn("namespace not read", "namespace", req.Namespace, "error", err)
			return nil, fmt.Errorf("%w: %s", errUndecided, reasonOf(err, "whether the namespace is to be left alone could not be found out"))
		}
		if out {
			return res, nil
		}
		patch, unresolved := w.patch(ctx, rs, req, o, images)
		for _, s := range unresolved {
			res.Warnings = append(res.Warnings, cut("pratique: not pinned, its digest could not be found out: "+clean(s.image), maxWarning))
		}
		res.Warnings = res.Warnings[:min(len(res.Warnings), maxWarnings/maxWarning)]
		serve.Note(r.Context(), "", slog.Int("patched", len(patch)), slog.Int("unresolved", len(unresolved)))
		if len(patch) == 0 {
			return res, nil
		}
		kind := admissionv1.PatchTypeJSONPatch
		res.PatchType = &kind
		if res.Patch, err = json.Marshal(patch); err != nil {
			return nil, fmt.Errorf("write patch: %w", err)
		}
		return res, nil
	})
}

func (m Mutation) any() bool { return m.Pin || m.PullAlways || len(m.Rewrite) > 0 }

// optedOut reports whether the namespace says that it wants no mutation. That
// lifts no check.
func (w *Webhook) optedOut(ctx context.Context, req *admissionv1.AdmissionRequest) (bool, error) {
	if req.Namespace == "" {
		return false, nil
	}
	ns, err := w.lookUp(req.Namespace)(ctx)
	return ns.Annotations[annotationMutation] == disabled, err
}

// patch makes the operations, and tells which images could not be pinned.
func (w *Webhook) patch(ctx context.Context, rs *rules, req *admissionv1.AdmissionRequest, o *object, images []slot) ([]operation, []slot) {
	var patch []operation
	var unresolved []slot
	digests := w.digests(ctx, rs, req.Namespace, images)
	originals := map[string]string{}
	for i, s := range images {
		p := rs.parse(s.image)
		if p.err != nil {
			continue // /validate says so
		}
		to := rs.Mutation.rewritten(p)
		if rs.Mutation.Pin && p.ref.Digest == "" {
			if digests[i] == "" {
				unresolved = append(unresolved, s)
			} else {
				to = tagged(to, p) + "@" + digests[i].String()
			}
		}
		if to != s.image {
			patch = append(patch, operation{"replace", s.pointer, to})
			originals[s.identity] = s.image
		}
		if rs.Mutation.PullAlways && s.pulls != "Always" && !fixed(req) {
			patch = append(patch, operation{"add", s.policy, "Always"})
		}
	}
	if len(originals) > 0 && req.SubResource == "" {
		patch = append(patch, remember(o, originals)...)
	}
	return patch, unresolved
}

// fixed reports whether the API server lets nothing of the object change but
// images: it is a pod that is there already.
func fixed(req *admissionv1.AdmissionRequest) bool {
	return req.Kind.Kind == "Pod" && req.Operation == admissionv1.Update && req.SubResource == ""
}

// digests resolves images, as /validate will; "" for those that cannot be.
func (w *Webhook) digests(ctx context.Context, rs *rules, namespace string, images []slot) []digest.Digest {
	all := make([]digest.Digest, len(images))
	if !rs.Mutation.Pin {
		return all
	}
	var work errgroup.Group
	work.SetLimit(imagesAtOnce)
	for i, s := range images {
		work.Go(func() error {
			p := rs.parse(s.image)
			if p.err != nil || p.ref.Digest != "" {
				return nil
			}
			d, err := w.resolutions.resolve(ctx, p, s.from.in(namespace), rs.Resolutions)
			if err != nil {
				w.log.Warn("image not pinned", "image", p.full, "error", err)
				return nil
			}
			all[i] = d
			return nil
		})
	}
	_ = work.Wait() // none returns an error
	return all
}

// rewritten puts the proxy in the place of the registry.
func (m Mutation) rewritten(p pull) string {
	to, ok := m.Rewrite[p.ref.Registry]
	if !ok {
		return p.raw
	}
	ref := p.ref
	ref.Registry = to
	return ref.String()
}

// tagged makes sure that the tag is seen beside the digest, also the implied one.
func tagged(image string, p pull) string {
	if strings.HasSuffix(image, ":"+p.ref.Tag) {
		return image
	}
	return image + ":" + p.ref.Tag
}

// remember writes down what stood in the object before, by place. What is no
// longer there is forgotten.
func remember(o *object, originals map[string]string) []operation {
	noted := map[string]string{}
	if text, ok := o.annotations[annotationOriginals]; ok {
		// What somebody else made of it is not ours to keep.
		_ = json.Unmarshal([]byte(text), &noted)
	}
	kept := map[string]string{}
	for _, s := range o.images {
		if was, ok := originals[s.identity]; ok {
			kept[s.identity] = was
		} else if was, ok := noted[s.identity]; ok {
			kept[s.identity] = was
		}
	}
	text, err := json.Marshal(kept) // in order of keys
	if err != nil || o.annotations[annotationOriginals] == string(text) {
		return nil
	}
	at := place{pointer: "/metadata"}.field("annotations")
	if meta, ok := o.fields["metadata"].(map[string]any); ok && meta["annotations"] == nil {
		return []operation{{"add", at.pointer, map[string]string{annotationOriginals: string(text)}}}
	}
	return []operation{{"add", at.field(annotationOriginals).pointer, string(text)}}
}
