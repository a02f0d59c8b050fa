package secret_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique/pratique/engine/secret"
	"github.com/pratique/pratique/internal/sharedtest"
)

// planted is one secret of a truth file.
type planted struct {
	Kind, Path, Where, Name string
	Layer, Line, Index      int
}

// scanned is what was found in one place of an image.
type scanned struct {
	planted
	finding secret.Finding
}

// TestCorpus: every planted secret is found where it was planted, and none of
// the look-alikes is taken for one.
func TestCorpus(t *testing.T) {
	dir := sharedtest.Dir(t, "corpus")
	s := scanner(t)
	found := scanImage(t, s, filepath.Join(dir, "secrets-planted"))
	var truth struct{ Secrets []planted }
	readJSON(t, filepath.Join(dir, "secrets-planted.truth.json"), &truth)
	for _, want := range truth.Secrets {
		want.Path = strings.TrimPrefix(want.Path, "/")
		met := false
		for _, got := range found {
			place := got.planted
			place.Kind = got.finding.Kind
			met = met || place == want
		}
		if !met {
			t.Errorf("not found: %+v", want)
		}
	}
	for _, got := range found {
		if strings.Count(got.finding.Redacted, "") > 8 {
			t.Errorf("shows too much: %q", got.finding.Redacted)
		}
	}
	for _, got := range scanImage(t, s, filepath.Join(dir, "secrets-lookalikes")) {
		if got.finding.Confidence == secret.High {
			t.Errorf("false alarm: %+v", got)
		}
	}
}

func scanner(t testing.TB) *secret.Scanner {
	t.Helper()
	s, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scanImage(t *testing.T, s *secret.Scanner, layout string) (all []scanned) {
	t.Helper()
	im := openImage(t, layout)
	for i, l := range im.layers {
		eachFile(t, l, func(path string, body []byte) {
			if !secret.IsText(body[:min(len(body), 512)]) {
				return
			}
			for _, f := range scan(s, path, string(body)) {
				all = append(all, scanned{planted{Path: path, Layer: i, Line: f.Line}, f})
			}
		})
	}
	for _, variable := range im.env {
		name, _, _ := strings.Cut(variable, "=")
		for _, f := range scan(s, "", variable) {
			all = append(all, scanned{planted{Where: "config.Env", Name: name}, f})
		}
	}
	for i, h := range im.history {
		for _, f := range scan(s, "", h) {
			all = append(all, scanned{planted{Where: "history", Index: i}, f})
		}
	}
	return all
}

// madeImage is where the files of an OCI layout are, and what its configuration
// says.
type madeImage struct{ layers, env, history []string }

func openImage(t *testing.T, layout string) (im madeImage) {
	t.Helper()
	var index, manifest struct {
		Manifests []struct{ Digest string }
		Config    struct{ Digest string }
		Layers    []struct{ Digest string }
	}
	var config struct {
		Config  struct{ Env []string }
		History []struct {
			CreatedBy string `json:"created_by"`
		}
	}
	blob := func(digest string) string {
		return filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
	}
	readJSON(t, filepath.Join(layout, "index.json"), &index)
	readJSON(t, blob(index.Manifests[0].Digest), &manifest)
	readJSON(t, blob(manifest.Config.Digest), &config)
	for _, l := range manifest.Layers {
		im.layers = append(im.layers, blob(l.Digest))
	}
	for _, h := range config.History {
		im.history = append(im.history, h.CreatedBy)
	}
	im.env = config.Config.Env
	return im
}

func eachFile(t *testing.T, blob string, visit func(path string, body []byte)) {
	t.Helper()
	f, err := os.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			visit(strings.TrimPrefix(h.Name, "./"), body)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", path, err))
	}
}
