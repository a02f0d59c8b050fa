package main_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/imagetest"
)

// artifactRows are about what is no image: signatures, notes, charts.
func artifactRows() []lockout {
	return []lockout{
		{"sign and verify a good image", "Harbor L7 and L16: goharbor/harbor#22650, #22643", []string{"cosign"}, signGood},
		{"attach a note and a signature to a refused image", "Harbor L7: goharbor/harbor#22650 (notation's flow: a manifest with a subject)", []string{"oras"}, attachRefused},
		{"push a chart and pull it right away", "Harbor L7: goharbor/harbor#22908 (helm reads back by digest)", []string{"helm"}, helmRoundTrip},
		{"push a chart again, and another under its version", "Harbor L6: goharbor/harbor#18395", []string{"helm"}, helmAgain},
		{"push a chart over the tag of a refused image", "Harbor L6: goharbor/harbor#18395 (chart and image share a tag)", []string{"helm"}, helmOverImage},
	}
}

// put pushes an image without a client and answers with its reference by digest.
func (b bench) put(t *testing.T, tag string, im imagetest.Image) string {
	t.Helper()
	registry := imagetest.Registry{URL: "http://" + b.s.registry, Header: b.s.token(b.repository)}
	if b.house != nil && b.s == b.house.server {
		registry = b.house.pushes(t, b.repository)
	}
	fatal(t, registry.Push(t.Context(), b.repository, tag, im))
	return b.s.registry + "/" + b.repository + "@" + im.Digest().String()
}

func signRefused(t *testing.T, b bench) {
	c := b.any.(*clients.Cosign)
	ref := b.put(t, "1", b.bad())
	if out, err := c.Sign(ref); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func signRefusedReferrer(t *testing.T, b bench) {
	c := b.any.(*clients.Cosign)
	ref := b.put(t, "1", b.bad())
	if out, err := c.Sign(ref, "--registry-referrers-mode", "oci-1-1"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func signGood(t *testing.T, b bench) {
	c := b.any.(*clients.Cosign)
	ref := b.put(t, "1", b.good())
	for range 2 { // a second signature is added to the first
		if out, err := c.Sign(ref); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, ref := range []string{ref, b.ref("1")} {
		if out, err := c.Verify(ref); err != nil {
			t.Errorf("verify %s: %v\n%s", ref, err, out)
		}
	}
}

func attachRefused(t *testing.T, b bench) {
	o := b.any.(*clients.Oras)
	b.put(t, "1", b.bad())
	var attached []string
	for _, kind := range []string{"application/vnd.example.note", "application/vnd.cncf.notary.signature"} {
		digest, err := o.Attach(b.ref("1"), kind, []byte(kind))
		if err != nil {
			t.Fatalf("attach %s: %v", kind, err)
		}
		attached = append(attached, digest)
	}
	for _, digest := range attached {
		if raw, err := o.Fetch(b.s.registry + "/" + b.repository + "@" + digest); err != nil || !strings.Contains(raw, `"subject"`) {
			t.Errorf("fetch %s: %v\n%s", digest, err, raw)
		}
	}
	b.put(t, "2", b.good())
	digest, err := o.Attach(b.ref("2"), "application/vnd.example.note", []byte("note"))
	fatal(t, err)
	if found, err := o.Discover(b.ref("2")); err != nil || !slices.Contains(found, digest) {
		t.Errorf("discover: %v, %v", found, err)
	}
}

func helmRoundTrip(t *testing.T, b bench) {
	h := b.any.(*clients.Helm)
	helmPush(t, b, h.Package("chart", "1.0.0", "first"))
	helmPull(t, b, "chart:1.0.0")
}

func helmAgain(t *testing.T, b bench) {
	h := b.any.(*clients.Helm)
	for _, note := range []string{"first", "first", "second"} {
		helmPush(t, b, h.Package("chart", "1.0.0", note))
		helmPull(t, b, "chart:1.0.0")
	}
}

func helmOverImage(t *testing.T, b bench) {
	h := b.any.(*clients.Helm)
	images := b
	images.repository += "/chart"
	images.put(t, "1.0.0", b.bad())
	helmPush(t, b, h.Package("chart", "1.0.0", "first"))
	helmPull(t, b, "chart:1.0.0")
}

func helmPush(t *testing.T, b bench, archive string) {
	t.Helper()
	if out, err := b.any.(*clients.Helm).Push(archive, b.s.registry+"/"+b.repository); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
}

func helmPull(t *testing.T, b bench, chart string) {
	t.Helper()
	if out, err := b.any.(*clients.Helm).Pull(b.s.registry + "/" + b.repository + "/" + chart); err != nil {
		t.Fatalf("pull: %v\n%s", err, out)
	}
}
