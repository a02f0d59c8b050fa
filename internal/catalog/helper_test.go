package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/catalog"
)

var (
	ctx = context.Background()
	now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

	app   = catalog.Repository{Upstream: "local", Name: "team/app"}
	other = catalog.Repository{Upstream: "local", Name: "team/other"}
	hub   = catalog.Repository{Upstream: "hub", Name: "team/app"} // the same name at another upstream
)

// open opens a catalog of its own that is closed with the test.
func open(t *testing.T) *catalog.Catalog {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "catalog.db"))
}

func openAt(t *testing.T, path string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, c.Close()) })
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func blob(text string) image.Descriptor {
	return image.Descriptor{MediaType: image.MediaTypeLayer, Digest: digest.FromString(text), Size: int64(len(text))}
}

func parse(t testing.TB, doc map[string]any) *image.Manifest {
	t.Helper()
	doc["schemaVersion"] = 2
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.ParseManifest(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// imageOf is an image manifest with a layer for each text.
func imageOf(t testing.TB, layers ...string) *image.Manifest {
	t.Helper()
	all := []image.Descriptor{}
	for _, l := range layers {
		all = append(all, blob(l))
	}
	return parse(t, map[string]any{"config": blob("config"), "layers": all})
}

// indexOf is an index of manifests.
func indexOf(t testing.TB, children ...*image.Manifest) *image.Manifest {
	t.Helper()
	all := []image.Descriptor{}
	for _, c := range children {
		all = append(all, image.Descriptor{MediaType: c.MediaType, Digest: c.Digest, Size: int64(len(c.Raw))})
	}
	return parse(t, map[string]any{"manifests": all})
}

// record records manifests without tags, by the principal ann.
func record(t *testing.T, c *catalog.Catalog, repo catalog.Repository, all ...*image.Manifest) {
	t.Helper()
	for _, m := range all {
		check(t, c.Record(ctx, repo, m, "", "ann", now))
	}
}

func sorted(all ...digest.Digest) []digest.Digest {
	slices.Sort(all)
	return all
}

func sprint(v any) string { return fmt.Sprint(v) }
