package main_test

import (
	"testing"

	"github.com/pratique/pratique/internal/clients"
)

// rightRows are about what takes another right than to push. On loopback
// everybody has it.
func rightRows() []lockout {
	return []lockout{
		{"delete a refused manifest, and use its tag again", "OCI distribution-spec, Deleting manifests", []string{"crane", "skopeo", "oras"}, deleteManifest},
		{"delete a refused tag, and use it again", "OCI distribution-spec, Deleting tags", []string{"crane"}, deleteTag},
	}
}

func deleteManifest(t *testing.T, b bench) {
	b.mustPush(t, b.bad(), "1")
	byDigest := b.s.registry + "/" + b.repository + "@" + b.bad().Digest().String()
	var out string
	var err error
	switch c := b.any.(type) {
	case *clients.Crane:
		out, err = c.Run("delete", byDigest)
	case *clients.Copier:
		out, err = c.Run("delete", "--tls-verify=false", "docker://"+b.ref("1"))
	case *clients.Oras:
		out, err = c.Delete(byDigest)
	default:
		t.Fatalf("%s deletes nothing", b.name)
	}
	if err != nil {
		t.Fatalf("delete: %v\n%s", err, out)
	}
	b.mustPush(t, b.good(), "1")
	b.mustPull(t, "1")
}

func deleteTag(t *testing.T, b bench) {
	b.mustPush(t, b.bad(), "1")
	if out, err := b.any.(*clients.Crane).Run("delete", b.ref("1")); err != nil {
		t.Fatalf("delete: %v\n%s", err, out)
	}
	b.mustPush(t, b.good(), "1")
	b.mustPull(t, "1")
}
