package registrytest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

func uploadShapes(t *testing.T, r Registry) {
	content := Noise(1, 300_000)
	cases := []struct {
		name    string
		content []byte
		chunks  []int // lengths appended before the commit
		sized   bool  // the rest goes with the commit, with its size
		empty   bool  // nothing goes with the commit
	}{
		{name: "one request", content: content, sized: true},
		{name: "one request of unknown length", content: content},
		{name: "one chunk, then commit", content: content, chunks: []int{300_000}, empty: true},
		{name: "three chunks, then commit", content: content, chunks: []int{100_000, 1, 199_999}, empty: true},
		{name: "chunks, the last with the commit", content: content, chunks: []int{100_000, 100_000}, sized: true},
		{name: "chunks, the last of unknown length", content: content, chunks: []int{299_999}},
		{name: "empty blob", content: nil, empty: true},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			content := c.content
			repo := "shapes/" + string(rune('a'+i))
			d := digest.FromBytes(content)
			state, err := r.StartUpload(t.Context(), repo)
			must(t, err)
			var offset int64
			for _, n := range c.chunks {
				var written int64
				state, written, err = r.AppendUpload(t.Context(), repo, state, offset, unsized(content[offset:offset+int64(n)]))
				must(t, err)
				wantEqual(t, "written", written, int64(n))
				offset += written
			}
			var body io.Reader
			size := int64(-1)
			if !c.empty {
				body = unsized(content[offset:])
			}
			if c.sized {
				size = int64(len(content)) - offset
			}
			must(t, r.CommitUpload(t.Context(), repo, state, offset, d, body, size))
			stat, err := r.StatBlob(t.Context(), repo, d)
			must(t, err)
			wantEqual(t, "size", stat, int64(len(content)))
			got, total := readBlob(t, r, repo, d, 0, -1)
			wantEqual(t, "total", total, int64(len(content)))
			if !bytes.Equal(got, content) {
				t.Error("bytes differ")
			}
		})
	}
}

func uploadRefused(t *testing.T, r Registry) {
	ctx, repo, content := t.Context(), "refused", Noise(2, 1000)
	other := digest.FromString("other")

	state, err := r.StartUpload(ctx, repo)
	must(t, err)
	err = r.CommitUpload(ctx, repo, state, 0, other, bytes.NewReader(content), 1000)
	wantErr(t, "wrong digest", err, image.ErrDigestInvalid)
	_, err = r.StatBlob(ctx, repo, other)
	wantErr(t, "stat after wrong digest", err, image.ErrBlobUnknown, image.ErrNameUnknown)

	state, err = r.StartUpload(ctx, repo)
	must(t, err)
	_, _, err = r.AppendUpload(ctx, repo, state, 5, bytes.NewReader(content))
	wantErr(t, "append beyond the start", err, image.ErrRangeInvalid)
	state, written, err := r.AppendUpload(ctx, repo, state, 0, bytes.NewReader(content[:500]))
	must(t, err)
	for _, offset := range []int64{0, 499, 501} {
		_, _, err = r.AppendUpload(ctx, repo, state, offset, bytes.NewReader(content[500:]))
		wantErr(t, "append at the wrong offset", err, image.ErrRangeInvalid)
	}
	wrong := r.CommitUpload(ctx, repo, state, 3, digest.FromBytes(content), nil, 0)
	wantErr(t, "commit at the wrong offset", wrong, image.ErrRangeInvalid)
	must(t, r.CommitUpload(ctx, repo, state, written, digest.FromBytes(content), bytes.NewReader(content[500:]), 500))
}

func uploadCancelled(t *testing.T, r Registry) {
	ctx, repo, content := t.Context(), "cancelled", Noise(3, 1000)
	state, err := r.StartUpload(ctx, repo)
	must(t, err)
	state, written, err := r.AppendUpload(ctx, repo, state, 0, bytes.NewReader(content))
	must(t, err)
	must(t, r.CancelUpload(ctx, repo, state))
	err = r.CommitUpload(ctx, repo, state, written, digest.FromBytes(content), nil, 0)
	wantErr(t, "commit after cancel", err, image.ErrUploadUnknown)
	_, _, err = r.AppendUpload(ctx, repo, state, written, bytes.NewReader(content))
	wantErr(t, "append after cancel", err, image.ErrUploadUnknown)
	wantErr(t, "cancel after cancel", r.CancelUpload(ctx, repo, state), image.ErrUploadUnknown)
}

// uploadBrokenOff: a body that fails must not become a blob, and what is said to
// be written must be where a next request may go on.
func uploadBrokenOff(t *testing.T, r Registry) {
	ctx, repo, content := t.Context(), "broken", Noise(4, 200_000)
	gone := errors.New("client went away")
	state, err := r.StartUpload(ctx, repo)
	must(t, err)
	body := io.MultiReader(bytes.NewReader(content[:150_000]), iotest.ErrReader(gone))
	state, written, err := r.AppendUpload(ctx, repo, state, 0, body)
	if err == nil {
		t.Fatal("append of a broken body succeeded")
	}
	if written < 0 || written > 150_000 {
		t.Fatalf("written = %d of 150000", written)
	}
	d := digest.FromBytes(content)
	must(t, r.CommitUpload(ctx, repo, state, written, d, unsized(content[written:]), -1))
	if got, _ := readBlob(t, r, repo, d, 0, -1); !bytes.Equal(got, content) {
		t.Error("bytes differ after an upload that was taken up again")
	}

	state, err = r.StartUpload(ctx, repo)
	must(t, err)
	d = digest.FromBytes(content[:1000])
	body = io.MultiReader(bytes.NewReader(content[:1000]), iotest.ErrReader(gone))
	if err := r.CommitUpload(ctx, repo, state, 0, d, body, -1); err == nil {
		t.Error("commit of a broken body succeeded")
	}
	_, err = r.StatBlob(ctx, repo, d)
	wantErr(t, "stat after a broken commit", err, image.ErrBlobUnknown)
}

func blobRanges(t *testing.T, r Registry) {
	content := Noise(5, 10_000)
	d := PutBlob(t, r, "ranges", content)
	cases := []struct {
		name           string
		offset, length int64
		want           []byte
	}{
		{"all", 0, -1, content},
		{"all by length", 0, 10_000, content},
		{"start", 0, 10, content[:10]},
		{"middle", 5000, 100, content[5000:5100]},
		{"to the end", 9990, -1, content[9990:]},
		{"longer than there is", 9990, 100, content[9990:]},
		{"last byte", 9999, 1, content[9999:]},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, total := readBlob(t, r, "ranges", d, c.offset, c.length)
			wantEqual(t, "total", total, int64(len(content)))
			if !bytes.Equal(got, c.want) {
				t.Errorf("got %d bytes, want %d, or they differ", len(got), len(c.want))
			}
		})
	}
	_, _, err := r.Blob(t.Context(), "ranges", d, 10_001, -1)
	wantErr(t, "range after the end", err, image.ErrRangeInvalid)
}

func blobMounted(t *testing.T, r Registry) {
	content := Noise(6, 1000)
	d := PutBlob(t, r, "mount/from", content)
	ok, err := r.MountBlob(t.Context(), "mount/to", "mount/from", d)
	must(t, err)
	if !ok {
		t.Fatal("mount of an existing blob was not done")
	}
	if got, _ := readBlob(t, r, "mount/to", d, 0, -1); !bytes.Equal(got, content) {
		t.Error("bytes differ")
	}
	ok, err = r.MountBlob(t.Context(), "mount/to", "mount/from", digest.FromString("nowhere"))
	must(t, err)
	if ok {
		t.Error("mount of a missing blob was done")
	}
}

func blobDeleted(t *testing.T, r Registry) {
	ctx := t.Context()
	d := PutBlob(t, r, "delete/one", Noise(7, 1000))
	PutBlob(t, r, "delete/two", Noise(7, 1000))
	must(t, r.DeleteBlob(ctx, "delete/one", d))
	_, err := r.StatBlob(ctx, "delete/one", d)
	wantErr(t, "stat after delete", err, image.ErrBlobUnknown)
	_, _, err = r.Blob(ctx, "delete/one", d, 0, -1)
	wantErr(t, "read after delete", err, image.ErrBlobUnknown)
	wantErr(t, "delete after delete", r.DeleteBlob(ctx, "delete/one", d), image.ErrBlobUnknown)
	_, err = r.StatBlob(ctx, "delete/two", d)
	must(t, err)
}
