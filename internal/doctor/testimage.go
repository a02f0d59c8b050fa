package doctor

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// What is in the test image: packages whose critical or high vulnerabilities, and
// their fixes, are in any data about Alpine or npm. Where the data have neither, the
// image is not understood, and refused for that. Nothing in it can run.
var testFiles = []struct{ name, body string }{
	{"etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n"},
	{"lib/apk/db/installed", "P:libcrypto3\nV:3.3.2-r0\nA:x86_64\nL:Apache-2.0\no:openssl\n\n"},         // CVE-2025-15467
	{"app/node_modules/minimist/package.json", `{"name":"minimist","version":"1.2.0","license":"MIT"}`}, // CVE-2021-44906
	{"app/node_modules/lodash/package.json", `{"name":"lodash","version":"4.17.15","license":"MIT"}`},   // CVE-2021-23337
}

// testImage is an image of one layer; its label makes it one of a kind.
type testImage struct {
	layer, config, manifest []byte
}

func newTestImage(label string) (testImage, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range testFiles {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Typeflag: tar.TypeReg}); err != nil {
			return testImage{}, fmt.Errorf("write test image: %w", err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			return testImage{}, fmt.Errorf("write test image: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return testImage{}, fmt.Errorf("write test image: %w", err)
	}
	t := testImage{layer: buf.Bytes()}
	var err error
	if t.config, err = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"User": "65534", "Labels": map[string]string{"pratique.doctor": label}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromBytes(t.layer)}},
	}); err != nil {
		return testImage{}, fmt.Errorf("write test image: %w", err)
	}
	describe := func(mediaType string, raw []byte) image.Descriptor {
		return image.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	}
	if t.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeManifest,
		"config": describe("application/vnd.oci.image.config.v1+json", t.config),
		"layers": []image.Descriptor{describe("application/vnd.oci.image.layer.v1.tar", t.layer)},
	}); err != nil {
		return testImage{}, fmt.Errorf("write test image: %w", err)
	}
	return t, nil
}

// checkTestImage pushes an image that has to be refused, tries to pull it in every
// way, and removes it.
func (d *doctor) checkTestImage(ctx context.Context, reachable bool) {
	const name = "test image"
	switch {
	case d.TestRepository == "":
		d.report.unasked(name, "--push-test-image REPOSITORY makes an image with known vulnerabilities, and tries its layers too")
		return
	case !reachable:
		d.report.gap(name, "", "the proxy does not answer")
		return
	}
	tag := "doctor-" + strings.ToLower(rand.Text()[:10])
	d.progress("pushing %s:%s", d.TestRepository, tag)
	t, err := newTestImage(tag)
	if err != nil {
		d.report.gap(name, "", "%v", err)
		return
	}
	pushed, err := d.push(ctx, t, tag)
	next := "name a repository that these credentials may push to"
	switch {
	case err != nil:
		d.report.gap(name, next, "push of %s:%s: %v", d.TestRepository, tag, err)
		d.removeTestImage(ctx, tag, digest.FromBytes(t.manifest)) // it may have come all the same
		return
	case pushed.status == http.StatusForbidden && strings.HasPrefix(pushed.message, refusal):
		d.report.ok(name+", push", "", "gate.push refuses it: %s", pushed)
		d.checkBlobs(ctx, name+", layers", d.TestRepository, "", layersOf(t.manifest))
		return
	case pushed.status != http.StatusCreated:
		d.report.gap(name, next, "push of %s:%s: %s", d.TestRepository, tag, pushed)
		return
	}
	identifier := tag
	if a, err := d.registry.patiently(ctx, manifest(http.MethodGet, d.TestRepository, tag, "")); err == nil && a.status == http.StatusNotFound {
		identifier = digest.FromBytes(t.manifest).String() // gate.push is quarantine: the tag waits
	}
	if !d.checkBad(ctx, name, d.TestRepository, identifier, "") {
		d.checkBlobs(ctx, name+", layers", d.TestRepository, "", layersOf(t.manifest))
	}
	d.removeTestImage(ctx, tag, digest.FromBytes(t.manifest))
}

// push uploads the blobs and answers what the proxy says of the manifest.
func (d *doctor) push(ctx context.Context, t testImage, tag string) (answer, error) {
	for _, blob := range [][]byte{t.layer, t.config} {
		if err := d.pushBlob(ctx, blob); err != nil {
			return answer{}, err
		}
	}
	return d.registry.ask(ctx, question{
		method: http.MethodPut, path: d.TestRepository + "/manifests/" + tag, scope: scope(d.TestRepository, "pull,push"),
		header: http.Header{"Content-Type": {image.MediaTypeManifest}}, body: t.manifest,
	})
}

func (d *doctor) pushBlob(ctx context.Context, blob []byte) error {
	uploads := d.TestRepository + "/blobs/uploads/"
	start, err := d.registry.ask(ctx, question{method: http.MethodPost, path: uploads, scope: scope(d.TestRepository, "pull,push")})
	switch {
	case err != nil:
		return err
	case start.status != http.StatusAccepted:
		return fmt.Errorf("start upload: %s", start)
	}
	location, err := url.Parse(start.header.Get("Location"))
	if err != nil || !strings.HasPrefix(location.Path, "/v2/") {
		return fmt.Errorf("start upload: its address is %q", start.header.Get("Location"))
	}
	query := location.Query()
	query.Set("digest", digest.FromBytes(blob).String())
	done, err := d.registry.ask(ctx, question{
		method: http.MethodPut, path: strings.TrimPrefix(location.Path, "/v2/"), query: query, scope: scope(d.TestRepository, "pull,push"),
		header: http.Header{"Content-Type": {"application/octet-stream"}}, body: blob,
	})
	if err == nil && done.status != http.StatusCreated {
		err = fmt.Errorf("upload: %s", done)
	}
	return err
}

// removeTestImage removes the manifest and with it the tag, also when the time is up;
// the blobs go with the next collection of garbage.
func (d *doctor) removeTestImage(ctx context.Context, tag string, manifest digest.Digest) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Timeout)
	defer cancel()
	a, err := d.registry.ask(ctx, question{
		method: http.MethodDelete, path: d.TestRepository + "/manifests/" + manifest.String(), scope: scope(d.TestRepository, "delete,pull"),
	})
	if err == nil && a.status == http.StatusAccepted {
		d.report.ok("test image removed", "", "%s:%s", d.TestRepository, tag)
		return
	}
	if err == nil && a.status == http.StatusNotFound { // the push did not come so far
		return
	}
	why := a.String()
	if err != nil {
		why = err.Error()
	}
	d.report.gap("test image removed", fmt.Sprintf("remove %s:%s with an account that may delete", d.TestRepository, tag), "%s:%s is still there: %s", d.TestRepository, tag, why)
}
