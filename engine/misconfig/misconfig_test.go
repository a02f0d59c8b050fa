package misconfig_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/misconfig"
)

// healthy is a configuration that nothing is wrong with.
func healthy() *image.Runtime { return &image.Runtime{User: "10001:10001", Healthcheck: true} }

// check is Check where nothing is left out.
func check(im *inventory.Image, r *image.Runtime, history []image.History) []inventory.Misconfiguration {
	found, gaps := misconfig.Check(im, r, history)
	if len(gaps) > 0 {
		panic(gaps[0].Detail)
	}
	return found
}

func told(all []inventory.Misconfiguration) []string {
	list := []string{}
	for _, m := range all {
		line := m.Severity + " " + m.Rule
		if m.Path != "" {
			line += " " + m.Path
		}
		list = append(list, line)
	}
	return list
}

func TestRuntime(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*image.Runtime)
		want []string
	}{
		{"nothing", func(*image.Runtime) {}, []string{}},
		{"no user", func(r *image.Runtime) { r.User = "" }, []string{"medium root-user"}},
		{"root by name", func(r *image.Runtime) { r.User = "root:root" }, []string{"medium root-user"}},
		{"root by number", func(r *image.Runtime) { r.User = "0" }, []string{"medium root-user"}},
		{"root by a number that runtimes read", func(r *image.Runtime) { r.User = "+0" }, []string{"medium root-user"}},
		{"a user whose number begins with 0", func(r *image.Runtime) { r.User = "0100" }, []string{}},
		{"no health check", func(r *image.Runtime) { r.Healthcheck = false }, []string{"low no-healthcheck"}},
		{"ports", func(r *image.Runtime) { r.ExposedPorts = []string{"22/tcp", "2375/tcp", "8080/tcp", "220/tcp"} }, []string{"high exposed-ssh", "low exposed-admin"}},
		{"sshd", func(r *image.Runtime) {
			r.Entrypoint, r.Cmd = []string{"/usr/bin/tini", "--"}, []string{"/usr/sbin/sshd", "-D"}
		}, []string{"high sshd /usr/sbin/sshd"}},
		{"range of ports", func(r *image.Runtime) { r.ExposedPorts = []string{"20-25/tcp", "22/udp", "80-", "x"} }, []string{"high exposed-ssh", "low exposed-admin"}},
		{"sshd by a shell", func(r *image.Runtime) { r.Cmd = []string{"/bin/sh", "-c", "mkdir /run/sshd; exec /usr/sbin/sshd -D"} }, []string{"high sshd /usr/sbin/sshd"}},
		{"a socket spelled oddly", func(r *image.Runtime) { r.Volumes = []string{"/var//run/docker.sock/"} }, []string{"critical docker-socket /var//run/docker.sock/"}},
		{"no debugging", func(r *image.Runtime) { r.Env = []string{"NO_DEBUG=1", "DISABLE_DEBUG=true"} }, []string{}},
		{"engine's socket", func(r *image.Runtime) { r.Volumes = []string{"/data", "/var/run/docker.sock"} }, []string{"critical docker-socket /var/run/docker.sock"}},
		{"debugging", func(r *image.Runtime) { r.Env = []string{"DEBUG=true", "DEBUG_LEVEL=3", "NO_DEBUG=0"} }, []string{"low debug-enabled"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := healthy()
			test.set(r)
			if diff := cmp.Diff(test.want, told(check(&inventory.Image{}, r, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := check(&inventory.Image{}, nil, nil); len(got) > 0 {
		t.Errorf("a configuration that is not known: %v", told(got))
	}
}

func TestHistory(t *testing.T) {
	for text, want := range map[string]string{
		"/bin/sh -c #(nop) ADD http://example.com/app.tar.gz /app ":                              "add-from-http",
		"ADD http://example.com/app.tar.gz /app # buildkit":                                      "add-from-http",
		"ADD https://example.com/app.tar.gz /app # buildkit":                                     "add-remote",
		"ADD --checksum=sha256:0 https://example.com/app.tar.gz /app # buildkit":                 "",
		"/bin/sh -c #(nop) ADD file:0123 in / ":                                                  "",
		"COPY http://x /y # buildkit":                                                            "",
		"/bin/sh -c curl -fsSL http://get.example.com/install.sh | sh":                           "pipe-to-shell",
		"RUN /bin/sh -c set -e; wget -qO- https://x.example/i.sh | sudo -E bash -s -- a # build": "pipe-to-shell",
		"/bin/sh -c bash <(curl -s https://x.example)":                                           "pipe-to-shell",
		"/bin/sh -c curl -s https://x.example | tar xz":                                          "",
		"/bin/sh -c curl -o f https://x.example && sh f":                                         "",
		"/bin/sh -c curl -sSkL https://x.example -o f":                                           "unverified-fetch",
		"/bin/sh -c wget --no-check-certificate https://x.example":                               "unverified-fetch",
		"/bin/sh -c chmod -R 777 /app":                                                           "chmod-777",
		"/bin/sh -c chmod a=rwx /app":                                                            "chmod-777",
		"/bin/sh -c curl -sfL https://get.example | VERSION=1 sh -":                              "pipe-to-shell",
		"/bin/sh -c curl -sSL https://x.example | gunzip | python3 -":                            "pipe-to-shell",
		"/bin/sh -c curl 'https://x.example/?a=1&b=2' | bash":                                    "pipe-to-shell",
		"/bin/sh -c curl -o f https://x.example; cat g | sh":                                     "",
		"/bin/sh -c curl -s https://x.example | grep sh":                                         "",
		"/bin/sh -c #(nop)  LABEL usage=curl https://x.example | sh":                             "",
		"HEALTHCHECK &{[\"CMD-SHELL\" \"curl -k https://localhost\"]}":                           "",
		"ENV HELP=curl https://x.example | sh # buildkit":                                        "",
		"CMD [\"sh\" \"-c\" \"curl https://x.example | sh\"] # buildkit":                         "pipe-to-shell",
		"RUN /bin/sh -c apt-get install -y --allow-unauthenticated x":                            "unsigned-packages",
		"RUN /bin/sh -c apk add --allow-untrusted x.apk # buildkit":                              "unsigned-packages",
		"RUN /bin/sh -c apt-get update && apt-get -y dist-upgrade && rm -r":                      "upgrade-all",
		"RUN /bin/sh -c yum -y update && yum clean all":                                          "upgrade-all",
		"RUN /bin/sh -c yum update -y openssl":                                                   "",
		"RUN /bin/sh -c apt-get update && apt-get install -y curl":                               "",
		"/bin/sh -c chmod 755 /app":                                                              "",
	} {
		found := check(&inventory.Image{}, healthy(), []image.History{{CreatedBy: "FROM", Empty: true}, {CreatedBy: text}})
		got := ""
		for _, m := range found {
			got += m.Rule
			if m.Layer != 0 {
				t.Errorf("%s: layer %d", text, m.Layer)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestLongHistory: what is not looked at is told.
func TestLongHistory(t *testing.T) {
	steps := []image.History{{CreatedBy: "true"}, {CreatedBy: strings.Repeat("true && ", 200_000)}}
	if diff := cmp.Diff([]string{"medium history-too-long"}, told(check(&inventory.Image{}, healthy(), steps))); diff != "" {
		t.Error(diff)
	}
}

func TestFiles(t *testing.T) {
	file := func(path string, mode uint32, caps string) inventory.MarkedFile {
		return inventory.MarkedFile{Path: path, Kind: inventory.File, Mode: mode, Caps: caps, Layer: 2}
	}
	dir := inventory.MarkedFile{Path: "var/www", Kind: inventory.Dir, Mode: 0o777}
	sticky := inventory.MarkedFile{Path: "tmp", Kind: inventory.Dir, Mode: 0o1777}
	for _, test := range []struct {
		name string
		file inventory.MarkedFile
		want []string
	}{
		{"setuid", file("usr/bin/su", 0o4755, ""), []string{"low setuid-file usr/bin/su"}},
		{"setgid", file("usr/bin/wall", 0o2755, ""), []string{"low setgid-file usr/bin/wall"}},
		{"capabilities", file("usr/bin/ping", 0o755, "0100000200200000000000000000000000000000"), []string{"medium file-capabilities usr/bin/ping"}},
		{"strong capabilities", file("usr/bin/netd", 0o755, "0100000200042000000000000000000000000000"), []string{"high strong-file-capabilities usr/bin/netd"}},
		{"broken capabilities", file("usr/bin/netd", 0o755, "01"), []string{}},
		{"directory for all", dir, []string{"medium world-writable-directory var/www"}},
		{"sticky directory", sticky, []string{}},
		{"file for all", file("app/x", 0o666, ""), []string{"medium world-writable-file app/x"}},
		{"shadow for all", file("etc/shadow", 0o644, ""), []string{"high readable-shadow etc/shadow"}},
		{"passwd as it should be", file("etc/passwd", 0o644, ""), []string{}},
		{"passwd for all", file("etc/passwd", 0o666, ""), []string{"critical writable-account etc/passwd"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := check(&inventory.Image{Marked: []inventory.MarkedFile{test.file}}, healthy(), nil)
			if diff := cmp.Diff(test.want, told(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	caps := check(&inventory.Image{Marked: []inventory.MarkedFile{file("usr/bin/netd", 0o755, "0100000200042000000000000000000000000000")}}, healthy(), nil)
	if caps[0].Detail != "cap_net_bind_service,cap_sys_admin" || caps[0].Layer != 2 {
		t.Errorf("%+v", caps[0])
	}
}

func TestAccounts(t *testing.T) {
	im := &inventory.Image{
		Accounts: []inventory.Account{
			{Path: "etc/passwd", Name: "root", UID: "0", Password: "empty"}, {Path: "etc/passwd", Name: "toor", UID: "0", Password: "shadow"},
			{Path: "etc/passwd", Name: "app", UID: "1000", Password: "shadow"}, {Path: "etc/shadow", Name: "root", Password: "empty"}, {Path: "etc/shadow", Name: "app", Password: "locked"},
		},
		Sudoers: []inventory.Sudoer{{Path: "etc/sudoers", Line: "dev ALL=(ALL) NOPASSWD: ALL"}},
	}
	want := []string{"critical empty-password etc/passwd", "critical empty-password etc/shadow", "high second-root etc/passwd", "high sudo-nopasswd etc/sudoers"}
	if diff := cmp.Diff(want, told(check(im, healthy(), nil))); diff != "" {
		t.Error(diff)
	}
}

// TestRootByAccount: a name of the image's own that has root's number is root.
func TestRootByAccount(t *testing.T) {
	r := healthy()
	r.User = "toor"
	im := &inventory.Image{Accounts: []inventory.Account{{Path: "etc/passwd", Name: "toor", UID: "0", Password: "shadow"}}}
	if diff := cmp.Diff([]string{"high second-root etc/passwd", "medium root-user"}, told(check(im, r, nil))); diff != "" {
		t.Error(diff)
	}
}

func TestTags(t *testing.T) {
	if diff := cmp.Diff([]string{"low latest-tag"}, told(misconfig.Tags([]string{"1.2", "latest"}))); diff != "" {
		t.Error(diff)
	}
	if got := misconfig.Tags([]string{"1.2"}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestSecrets(t *testing.T) {
	found, gaps := misconfig.Secrets([]inventory.Secret{
		{Where: "config.Env", Name: "TOKEN", Confidence: "high"}, {Where: "config.Env", Name: "MAYBE", Confidence: "low"}, {Where: "history", Confidence: "high"},
		{Where: "file", Path: "a", Confidence: "high"}, {Where: "file", Path: "b", Deleted: true, Confidence: "high"}, {Where: "config.Labels", Confidence: "high"},
	})
	got := told(found)
	want := []string{"high secret-in-env", "high secret-in-history", "high secret-deleted b", "high secret-in-labels"}
	if diff := cmp.Diff(want, got); diff != "" || len(gaps) > 0 {
		t.Error(diff, gaps)
	}
}

// TestOmissionsAreGaps: what is beyond the limits is told, and hides nothing
// grave that there are few of.
func TestOmissionsAreGaps(t *testing.T) {
	im := &inventory.Image{Accounts: []inventory.Account{{Path: "etc/passwd", Name: "toor", UID: "0"}}}
	for i := range 5001 {
		im.Marked = append(im.Marked, inventory.MarkedFile{Path: fmt.Sprintf("f%04d", i), Kind: inventory.File, Mode: 0o666})
	}
	r := healthy()
	r.Cmd = []string{"sh", "-c", strings.Repeat(" ", 64<<10) + "sshd"}
	found, gaps := misconfig.Check(im, r, nil)
	if got := told(found); len(got) != 5000 || got[0] != "high second-root etc/passwd" {
		t.Errorf("%d, %.3q", len(got), got)
	}
	var all []inventory.Secret
	for i := range 5001 {
		all = append(all, inventory.Secret{Where: "config.Env", Name: fmt.Sprint(i), Confidence: "high"})
	}
	_, more := misconfig.Secrets(all)
	var details []string
	for _, g := range append(gaps, more...) {
		if g.Kind != inventory.Partial || g.Layer != -1 {
			t.Errorf("%+v", g)
		}
		details = append(details, g.Code+": "+g.Detail)
	}
	want := []string{"too-many-settings: 2 more unsafe settings are not listed", "command-too-long: 1 words of the command are too long to be looked at whole", "too-many-settings: 1 more unsafe settings are not listed"}
	if diff := cmp.Diff(want, details); diff != "" {
		t.Error(diff)
	}
}

// FuzzHistory: no instruction makes the check fail.
func FuzzHistory(f *testing.F) {
	f.Add("/bin/sh -c curl -fsSL http://get.example.com/install.sh | sh", "0100000200042000", "0:0")
	f.Add("ADD ['http://x'] # buildkit", "", "")
	f.Fuzz(func(t *testing.T, step, caps, user string) {
		r := healthy()
		r.User = user
		check(&inventory.Image{Marked: []inventory.MarkedFile{{Path: "a", Kind: inventory.File, Caps: caps}}}, r, []image.History{{CreatedBy: step}})
	})
}
