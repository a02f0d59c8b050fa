package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// refusal begins what the gate says when it refuses by policy or for a gap. Other
// messages of Pratique (no right, no data) refuse too, and prove nothing.
const refusal = "pratique: refused"

// tombstone is the artifact type of what stands for a refused tag.
const tombstone = "application/vnd.pratique.refusal.v1+json"

// shown begins the warning with which a refused manifest is shown to those who may
// overwrite or sign it.
const shown = "pratique: pulls are refused"

const pullAlone = "who may push may look at the manifest of what is refused: nodes should have a robot that may pull alone"

const loud = "THE IMAGE CAN BE PULLED. "

// checkImages asks for the image that has to be refused, and for the one that has to
// be served, in every way that a node may ask.
func (d *doctor) checkImages(ctx context.Context, reachable bool) {
	if d.bad == nil && d.TestRepository == "" {
		d.report.gap("bad image", "name one with --bad-image (`pratique check` exits with 1 for it), or have one made by --push-test-image", "no image that has to be refused is named")
	}
	for _, image := range []*named{d.bad, d.good} {
		if image != nil && !reachable {
			d.report.gap("image "+image.pull, "", "the proxy does not answer")
		}
	}
	if d.bad != nil && reachable {
		d.checkBad(ctx, "bad image", d.bad.path(), d.bad.identifier, "")
		if d.bad.registry != "" {
			d.checkBad(ctx, "bad image, mirror", d.bad.repository, d.bad.identifier, d.bad.registry)
		}
	}
	switch {
	case d.good == nil:
		d.report.unasked("good image", "--good-image names one that has to be served")
	case reachable:
		d.checkGood(ctx)
	}
}

// checkBad asks for a refused manifest by tag, by digest, and with HEAD. It reports
// whether it has tried the layers too, which only those can who are shown the manifest.
func (d *doctor) checkBad(ctx context.Context, name, repository, identifier, namespace string) (layers bool) {
	d.progress("asking for %s of %s", identifier, repository)
	var stone digest.Digest // that a refused tag is answered with
	var before answer       // to the first question
	get := func(name, method, identifier string) answer {
		a, err := d.registry.patiently(ctx, manifest(method, repository, identifier, namespace))
		switch {
		case err == nil && a.tombstone():
			stone = a.digest()
			a, err = d.registry.patiently(ctx, manifest(method, repository, stone.String(), namespace))
			a.header.Del("Docker-Content-Digest") // of the stone, not of the image
			name += ", tombstone"
		case err == nil && method == http.MethodHead && a.status == http.StatusOK && stone != "" && a.digest() == stone:
			d.report.ok(name, "", "HTTP 200, for the tombstone")
			return a
		}
		d.judgeBad(name, a, err, method == http.MethodHead && d.refused(before))
		return a
	}
	by := " by tag"
	if strings.Contains(identifier, ":") {
		by = " by digest"
	}
	a := get(name+by, http.MethodGet, identifier)
	before = a
	if by == " by tag" && a.digest() != "" {
		a = get(name+" by digest", http.MethodGet, a.digest().String())
	}
	if a.status == http.StatusForbidden {
		get(name+" by HEAD", http.MethodHead, identifier)
	}
	if a.status != http.StatusOK {
		return false
	}
	return d.checkBlobs(ctx, name+", layers", repository, namespace, layersOf(a.body))
}

// digest is what the answer says of the manifest, "" if it says none.
func (a answer) digest() digest.Digest {
	d := digest.Digest(a.header.Get("Docker-Content-Digest"))
	if d.Validate() != nil {
		return ""
	}
	return d
}

// refused reports whether an answer is a refusal by policy.
func (d *doctor) refused(a answer) bool {
	return a.status == http.StatusForbidden && a.code == "DENIED" && strings.HasPrefix(a.message, refusal)
}

// judgeBad says what the answer to a request for a refused manifest comes to.
// wordless is true where an answer without words is one: to HEAD, when GET was
// refused by policy.
func (d *doctor) judgeBad(name string, a answer, err error, wordless bool) {
	warning := a.warning()
	switch {
	case err != nil:
		d.report.gap(name, advice(err), "%v", err)
	case a.status == http.StatusForbidden && len(a.body) == 0 && wordless:
		d.report.ok(name, "", "HTTP 403")
	case a.status == http.StatusForbidden && len(a.body) == 0:
		d.report.gap(name, "a refusal for another reason proves nothing: who is it that answers?", "HTTP 403, without the proxy's words")
	case d.refused(a) && a.message == d.said:
		d.report.ok(name, "", "HTTP 403 DENIED, in the same words")
	case d.refused(a):
		d.said = a.message
		d.report.ok(name, "", "%s", a)
	case a.status == http.StatusForbidden && strings.HasPrefix(a.message, "pratique: "):
		d.report.gap(name, "a refusal for another reason proves nothing: mend that, and ask again", "refused, but not by policy: %s", a)
	case a.status == http.StatusOK && strings.HasPrefix(warning, shown) && len(a.body) > 0 && len(layersOf(a.body)) == 0:
		d.report.gap(name, pullAlone, "the index is shown, because these credentials may push; what it leads to was not asked for")
	case a.status == http.StatusOK && strings.HasPrefix(warning, shown): // its layers are asked for next
		d.report.ok(name, pullAlone, "the document is shown, because these credentials may push")
	case a.status == http.StatusOK && warning != "":
		d.report.failed(name, "the gate lets it through and warns: gate.mode, gate.rules, or a break-glass grant", loud+"Warning: %s", warning)
	case a.status == http.StatusOK:
		d.report.failed(name, "is this image really one that policy refuses? `pratique check` says; then look at gate.mode and gate.rules", loud+"HTTP 200, without a warning")
	case a.status == http.StatusNotFound:
		d.report.gap(name, "name an image that is there; a registry behind the proxy needs an upstream with its prefix", "not found: %s", a)
	case a.status == http.StatusTooManyRequests:
		d.report.gap(name, "ask again in a moment, or with a longer --timeout", "%s", a)
	case a.status == http.StatusUnauthorized:
		d.report.gap(name, toldWho, "%s", a)
	default:
		d.report.gap(name, "", "%s", a)
	}
}

// tombstone reports whether what was served stands for a refusal.
func (a answer) tombstone() bool {
	var doc struct {
		Type string `json:"artifactType"`
	}
	return a.status == http.StatusOK && json.Unmarshal(a.body, &doc) == nil && doc.Type == tombstone
}

// layersOf are the config and the layers that a manifest names; none of an index.
func layersOf(raw []byte) []digest.Digest {
	var doc struct {
		Config image.Descriptor   `json:"config"`
		Layers []image.Descriptor `json:"layers"`
	}
	if json.Unmarshal(raw, &doc) != nil || doc.Config.Digest == "" {
		return nil
	}
	all := []digest.Digest{doc.Config.Digest}
	for _, l := range doc.Layers {
		all = append(all, l.Digest)
	}
	return all[:min(len(all), 8)]
}

// checkBlobs asks for one byte of each blob that a refused manifest names; HEAD, which
// brings nothing, is for those who push. It reports whether there was any.
func (d *doctor) checkBlobs(ctx context.Context, name, repository, namespace string, blobs []digest.Digest) bool {
	if len(blobs) == 0 {
		return false
	}
	for _, blob := range blobs {
		a, err := d.registry.ask(ctx, question{
			method: http.MethodGet, path: repository + "/blobs/" + blob.String(), namespace: namespace,
			scope: scope(repository, "pull"), header: http.Header{"Range": {"bytes=0-0"}},
		})
		switch {
		case err != nil:
			d.report.gap(name, advice(err), "%s: %v", blob, err)
			return true
		case a.status < 300 && repository != d.TestRepository:
			d.report.gap(name, "look whether an allowed image of this repository has the layer too; if none has, report it (SECURITY.md)", "%s is served: HTTP %d", blob, a.status)
			return true
		case a.status < 300:
			d.report.failed(name, "no image that is served has this layer: report it (SECURITY.md)", loud+"%s: HTTP %d", blob, a.status)
			return true
		case a.status != http.StatusForbidden && a.status != http.StatusNotFound:
			d.report.gap(name, "", "%s: %s", blob, a)
			return true
		}
	}
	d.report.ok(name, "", "none of %d is served", len(blobs))
	return true
}

// checkGood pulls the manifest of an image that has to be served, and asks for a
// layer.
func (d *doctor) checkGood(ctx context.Context) {
	const name = "good image"
	repository := d.good.path()
	d.progress("asking for %s", d.good.pull)
	a, err := d.registry.patiently(ctx, manifest(http.MethodGet, repository, d.good.identifier, ""))
	if err == nil && a.status == http.StatusOK {
		if child := childOf(a.body); child != "" {
			a, err = d.registry.patiently(ctx, manifest(http.MethodGet, repository, child.String(), ""))
		}
	}
	layers := layersOf(a.body)
	switch {
	case err != nil:
		d.report.gap(name, advice(err), "%v", err)
		return
	case a.status == http.StatusForbidden:
		d.report.failed(name, "the message says what has to change; `pratique check` shows more", "%s", a)
		return
	case a.status != http.StatusOK:
		d.report.gap(name, "", "%s", a)
		return
	case len(layers) == 0:
		d.report.gap(name, "name one for this platform", "it has no image for linux/%s", runtime.GOARCH)
		return
	}
	last := layers[len(layers)-1]
	b, err := d.registry.ask(ctx, question{method: http.MethodHead, path: repository + "/blobs/" + last.String(), scope: scope(repository, "pull")})
	switch {
	case err != nil:
		d.report.gap(name, "", "%v", err)
	case b.status != http.StatusOK:
		d.report.failed(name, "", "its manifest is served, and its layer %s is not: HTTP %d", last, b.status)
	default:
		d.report.ok(name, "", "%s: manifest and layers are served%s", d.good.pull, d.warned(a))
	}
}

func (d *doctor) warned(a answer) string {
	if w := a.warning(); w != "" {
		return fmt.Sprintf(", with the warning %q", w)
	}
	return ""
}

// childOf is the image of this machine's platform in an index, "" if raw is none or
// has none.
func childOf(raw []byte) digest.Digest {
	var doc struct {
		Manifests []struct {
			Digest   digest.Digest `json:"digest"`
			Platform struct {
				OS           string `json:"os"`
				Architecture string `json:"architecture"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return ""
	}
	for _, m := range doc.Manifests {
		if m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH && m.Digest.Validate() == nil {
			return m.Digest
		}
	}
	return ""
}
