package main_test

import (
	"testing"

	"github.com/pratique/pratique/internal/clients"
)

// deleteRows are about what takes another right than to push. On an open
// loopback everybody has it.
func deleteRows() []lockout {
	return []lockout{
		{"delete a refused manifest, and use its tag again", "OCI distribution-spec, Deleting manifests", []string{"crane", "skopeo"}, deleteManifest},
		{"delete a refused tag, and use it again", "OCI distribution-spec, Deleting tags", []string{"crane"}, deleteTag},
	}
}

// rightRows are done by people with a name: nobody is stopped who has the right.
func rightRows() []lockout {
	each := []string{"docker", "ctr", "podman", "skopeo", "crane", "oras"}
	rows := []lockout{
		{"with the right to pull: log in, and pull a good image beside a refused one", "docs/configuration.md: auth.rules", each, pullNamed},
		{"with the right to push: overwrite a refused tag, push again, read back", "Harbor L6: goharbor/harbor#15885, #18792, #19408, #23638", each, as(pushBot, overwriteNamed)},
		{"with the right to push: sign a refused image (tag sha256-….sig)", "Harbor L7: goharbor/harbor#22650, sigstore/cosign#3163", []string{"cosign"}, as(pushBot, signRefused)},
		{"with the right to push: sign a refused image (referrer)", "Harbor L7: goharbor/harbor#22650, sigstore/cosign#3163", []string{"cosign"}, as(pushBot, signRefusedReferrer)},
		{"with the right to push: sign and verify a good image", "Harbor L7 and L16: goharbor/harbor#22650, #22643", []string{"cosign"}, as(pushBot, signGood)},
		{"with the right to push: attach a note and a signature to a refused image", "Harbor L7: goharbor/harbor#22650 (notation's flow)", []string{"oras"}, as(pushBot, attachRefused)},
		{"with the right to push: log in, push a chart, again, and over a refused image; pull it with the right to pull", "Harbor L6, L7: goharbor/harbor#18395, #22908", []string{"helm"}, helmNamed},
		{"quarantine: the fixed image moves the tag that another waits for", "docs/configuration.md: gate.push", []string{"docker", "ctr", "crane"}, as(pushBot, fixHeld)},
		{"break-glass: pull what is refused, until the grant ends", "`pratique break-glass`", []string{"docker", "ctr", "skopeo"}, as(readerBot, breakGlass)},
	}
	for _, row := range deleteRows() {
		if row.what = "with the right to delete: " + row.what; len(row.clients) > 1 {
			row.clients = []string{"crane", "skopeo", "oras"}
		}
		row.run = as(keeper, row.run)
		rows = append(rows, row)
	}
	return rows
}

// as does a row at the server that knows people by name, as one of them.
func as(who string, run func(t *testing.T, b bench)) func(t *testing.T, b bench) {
	return func(t *testing.T, b bench) {
		b.s = b.house.server
		b.mustLogin(t, who)
		run(t, b)
	}
}

// named is a client that can say who uses it.
type named interface {
	Login(registry, user, password string) (out string, err error)
}

// mustLogin has the client go on as somebody.
func (b bench) mustLogin(t *testing.T, who string) {
	t.Helper()
	if out, err := b.any.(named).Login(b.s.registry, who, b.house.secrets[who]); err != nil {
		t.Fatalf("login as %s: %v\n%s", who, err, out)
	}
}

func pullNamed(t *testing.T, b bench) {
	b.s = b.house.server
	b.put(t, "good", b.good())
	b.put(t, "bad", b.bad())
	if out, err := b.Pull(b.ref("good")); err == nil {
		t.Fatalf("pulled by nobody\n%s", out)
	}
	b.mustLogin(t, readerBot)
	if out, err := b.Pull(b.ref("good")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.mustPull(t, "good")
	if out, err := b.Pull(b.ref("bad")); err == nil {
		t.Fatalf("a refused image was pulled\n%s", out)
	}
}

func overwriteNamed(t *testing.T, b bench) {
	for range 2 {
		b.mustPush(t, b.bad(), "1")
	}
	b.mustBeRefused(t, "1")
	for range 2 {
		b.mustPush(t, b.good(), "1")
		b.mustPull(t, "1")
	}
}

func helmNamed(t *testing.T, b bench) {
	b.s = b.house.server
	b.mustLogin(t, pushBot)
	helmAgain(t, b)
	b.repository += "/over"
	helmOverImage(t, b)
	b.mustLogin(t, readerBot)
	helmPull(t, b, "chart:1.0.0")
	b.mustLogin(t, pushBot) // a repository with quarantine holds no charts
	helmPush(t, b, b.any.(*clients.Helm).Package("held", "1.0.0", "first"))
	helmPull(t, b, "held:1.0.0")
}

// fixHeld pushes three images to one tag: it stays on the first while the second
// is in quarantine, and the third takes it over.
func fixHeld(t *testing.T, b bench) {
	b.repository += "/held"
	b.mustPush(t, b.good(), "1")
	b.mustPull(t, "1")
	first := b.s.digest(b.repository, "1")
	b.mustPush(t, b.bad(), "1")
	b.mustPull(t, "1")
	if got := b.s.digest(b.repository, "1"); got != first {
		t.Errorf("the tag moved to %s", got)
	}
	b.mustPush(t, unique("good-"+b.repository, 1), "1")
	b.mustPull(t, "1")
	if b.s.digest(b.repository, "1") == first {
		t.Error("the tag was not moved by the fixed image")
	}
	b.mustPush(t, b.bad(), "2") // nothing is under this tag before
	b.mustBeRefused(t, "2")
	b.mustPush(t, unique("good-"+b.repository, 2), "2")
	b.mustPull(t, "2")
}

func breakGlass(t *testing.T, b bench) {
	b.put(t, "1", b.bad())
	if out, err := b.Pull(b.ref("1")); err == nil {
		t.Fatalf("pulled without a grant\n%s", out)
	}
	end := b.house.breakGlass(t, readerBot, b.repository)
	if out, err := b.Pull(b.ref("1")); err != nil {
		t.Fatalf("with a grant: %v\n%s", err, out)
	}
	end()
	b.mustBeRefused(t, "1")
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
