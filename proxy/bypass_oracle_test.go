package proxy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/imagetest"
)

// cargo is an image that carries a mark in its layer, its config and its
// manifest: none of its bytes can be given away without being recognised.
func cargo(mark string, ssl imagetest.Apk) imagetest.Image {
	return marked(mark, imagetest.Plain(imagetest.Alpine([]imagetest.Apk{ssl}, imagetest.File("srv/cargo", strings.Repeat(mark+"\n", 64)))...))
}

// marked is an image of one layer with the mark in config and manifest.
func marked(mark string, layer imagetest.Layer) imagetest.Image {
	config := string(mustJSON(map[string]any{
		"os": "linux", "architecture": "amd64", "author": mark, "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{layer.DiffID}},
	}))
	im := dressed(config, image.MediaTypeConfig, layer)
	im.Platform = image.Platform{OS: "linux", Architecture: "amd64"}
	return remade(im, func(doc map[string]any) {
		doc["layers"].([]any)[0].(map[string]any)["annotations"] = map[string]string{"example.cargo": mark}
	})
}

// remade is an image whose manifest somebody has changed.
func remade(im imagetest.Image, change func(doc map[string]any)) imagetest.Image {
	var doc map[string]any
	if err := json.Unmarshal(im.Manifest, &doc); err != nil {
		panic(err)
	}
	change(doc)
	im.Manifest = mustJSON(doc)
	return im
}

// oracle knows what nobody may be shown.
type oracle struct {
	marks   [][]byte // unique strings
	secrets []secret // of which no part may be an answer
}

type secret struct {
	what    string
	blob    []byte
	stretch []byte // by which it is recognised within other things
}

// hide adds an image to what nobody may be shown.
func (o *oracle) hide(im imagetest.Image) {
	var config struct{ Author string }
	if err := json.Unmarshal(im.Config, &config); err == nil && config.Author != "" {
		o.marks = append(o.marks, []byte(config.Author))
	}
	// Messages name digests, so documents are recognised as a whole, or by the mark.
	o.secrets = append(o.secrets, secret{"manifest", im.Manifest, im.Manifest}, secret{"config", im.Config, im.Config})
	for _, l := range im.Layers {
		at := len(l.Blob) / 2
		o.secrets = append(o.secrets, secret{"layer", l.Blob, l.Blob[at:min(at+24, len(l.Blob))]})
	}
}

// smell says what of the secrets an answer gives away; "" for nothing. A body
// that is a part of a secret is one however short it is.
func (o *oracle) smell(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	for _, m := range o.marks {
		if bytes.Contains(body, m) {
			return "the mark of the image"
		}
	}
	for _, s := range o.secrets {
		if bytes.Contains(s.blob, body) || bytes.Contains(body, s.stretch) || bytes.Contains(body, []byte(base64.StdEncoding.EncodeToString(s.blob))) {
			return "bytes of the " + s.what
		}
	}
	return ""
}
