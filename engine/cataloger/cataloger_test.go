package cataloger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

var limits = cataloger.Limits{Packages: 1000, Owned: 1000}

func read(t testing.TB, path, body string) *cataloger.Result {
	t.Helper()
	c := cataloger.ForPath(path)
	if c == nil {
		c = cataloger.ForContent([]byte(body[:min(len(body), cataloger.HeadSize)]))
	}
	if c == nil {
		t.Fatalf("nothing wants %s", path)
	}
	out := cataloger.NewResult(path, limits)
	if c.ReadAt != nil {
		c.ReadAt(cataloger.File{ReaderAt: strings.NewReader(body), Size: int64(len(body))}, out)
	} else {
		c.Read(strings.NewReader(body), out)
	}
	return out
}

// told gives one line for each thing that a file told.
func told(r *cataloger.Result) []string {
	lines := []string{}
	for _, d := range r.Databases {
		lines = append(lines, "database "+d.Type)
	}
	for _, p := range r.Packages {
		line := p.Type + " " + p.Name + " " + p.Version
		if p.Source != p.Name || p.SourceVersion != p.Version {
			line += " from " + p.Source + " " + p.SourceVersion
		}
		if p.Arch != "" {
			line += " " + p.Arch
		}
		lines = append(lines, line)
	}
	for _, o := range r.Owned {
		lines = append(lines, "owned "+o.Package+" "+o.Path)
	}
	for _, e := range r.Releases {
		lines = append(lines, "release "+e.ID+" "+e.VersionID+" "+e.PrettyName)
	}
	for _, a := range r.Accounts {
		lines = append(lines, "account "+a.Name+" "+a.UID+" "+a.Password)
	}
	for _, g := range r.Groups {
		lines = append(lines, fmt.Sprint("group ", g.Name, " ", g.Members))
	}
	for _, s := range r.Sudoers {
		lines = append(lines, "sudoer "+s.Line)
	}
	for _, g := range r.Gaps {
		lines = append(lines, string(g.Kind)+" "+g.Code)
	}
	return lines
}

func TestRead(t *testing.T) {
	status, installed := "var/lib/dpkg/status", "lib/apk/db/installed"
	deb := "Package: openssl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0\n"
	for _, test := range []struct {
		name, path, body string
		want             []string
	}{
		{"dpkg", status, deb + "Source: ssl (2.0)\nDescription: x\n y: z\n .\n\n" + strings.ReplaceAll(deb, "openssl", "other"), []string{"database deb", "deb openssl 3.0 from ssl 2.0 amd64", "deb other 3.0 amd64"}},
		{"dpkg source without version", status, deb + "Source: ssl\n", []string{"database deb", "deb openssl 3.0 from ssl 3.0 amd64"}},
		{"dpkg removed", status, strings.Replace(deb, "install ok installed", "deinstall ok config-files", 1), []string{"database deb"}},
		{"dpkg never installed", status, "Package: x\nStatus: unknown ok not-installed\n", []string{"database deb"}},
		{"dpkg half way", status, strings.Replace(deb, "ok installed", "ok unpacked", 1), []string{"database deb", "deb openssl 3.0 amd64"}},
		{"dpkg marked for removal, still there", status, strings.Replace(deb, "install ok installed", "deinstall ok installed", 1), []string{"database deb", "deb openssl 3.0 amd64"}},
		{"dpkg carriage returns", status, strings.ReplaceAll(deb, "\n", "\r\n"), []string{"database deb", "deb openssl 3.0 amd64"}},
		{"dpkg empty", status, "", []string{"database deb"}},
		{"dpkg partly broken", status, deb + " " + strings.Repeat("A", 1<<20) + "\n\nnonsense\n\nVersion: 2\n\nPackage: \nVersion: \n", []string{"database deb", "deb openssl 3.0 amd64", "partial dpkg-records"}},
		{"dpkg all broken", status, "\x00\x01nonsense\n", []string{"database deb", "blind dpkg-records"}},
		{"dpkg of distroless", "var/lib/dpkg/status.d/openssl", "Package: openssl\nVersion: 3.0\n", []string{"database deb", "deb openssl 3.0"}},
		{"dpkg list", "srv/var/lib/dpkg/info/p:amd64.list", "/.\n/usr/bin/x\n/usr/share/doc/p/copyright\n/usr/lib/x.egg-info\n", []string{"owned p srv/usr/bin/x", "owned p srv/usr/lib/x.egg-info"}},
		{"control characters", status, strings.Replace(deb, "openssl", "open\x1bssl", 1), []string{"database deb", `deb open\x1bssl 3.0 amd64`}},
		{"apk", installed, "C:Q1x\nP:libssl3\nV:3.3-r0\nA:x86_64\nL:MIT\no:openssl\nF:usr/lib\nR:libssl.so.3\nF:usr/bin\nR:x\n\nP:b\nV:1\n", []string{"database apk", "apk libssl3 3.3-r0 from openssl 3.3-r0 x86_64", "apk b 1", "owned libssl3 usr/lib/libssl.so.3", "owned libssl3 usr/bin/x"}},
		{"apk partly broken", installed, "P:a\nV:1\n\nP:b\n\nnonsense\n\n", []string{"database apk", "apk a 1", "partial apk-records"}},
		{"apk all broken", "usr/lib/apk/db/installed", "nonsense\n", []string{"database apk", "blind apk-records"}},
		{"npm", "a/package.json", `{"name":"@s/a","version":"1.0.0","license":"MIT"}`, []string{"npm @s/a 1.0.0"}},
		{"npm with a byte order mark", "package.json", "\xef\xbb\xbf" + `{"name":"a","version":"1"}`, []string{"npm a 1"}},
		{"npm keys are compared to the letter", "package.json", `{"name":"a","version":"1","Version":"2","NAME":"b"}`, []string{"npm a 1"}},
		{"npm the last of a key counts", "package.json", `{"name":"a","version":"1","version":"2"}`, []string{"npm a 2"}},
		{"npm without version", "package.json", `{"name":"a","type":"module"}`, []string{}},
		{"npm version is no string", "package.json", `{"name":"a","version":1}`, []string{}},
		{"npm empty", "package.json", "", []string{}},
		{"npm an array", "package.json", "[]", []string{}},
		{"npm too deep", "package.json", `{"name":"a","version":"1","x":` + strings.Repeat("[", 100000), []string{"npm a 1", "partial npm-manifest"}},
		{"npm broken", "package.json", `{"name`, []string{"partial npm-manifest"}},
		{"python wheel", "x-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n\nName: y\n", []string{"python x 1"}},
		{"python egg", "x.egg/EGG-INFO/PKG-INFO", "Name: x\nVersion: 1\n", []string{"python x 1"}},
		{"python distutils", "x-1.egg-info", "Name: x\nVersion: 1\n", []string{"python x 1"}},
		{"python broken", "x.egg-info/PKG-INFO", "Name: x\n\nVersion: 1\n", []string{"partial python-metadata"}},
		{"os-release", "etc/os-release", "# c\nID=\"Debian\"\nVERSION_ID='12'\nPRETTY_NAME=\"a \\\"b\\\"\"\n", []string{`release debian 12 a "b"`}},
		{"alpine-release", "etc/alpine-release", "3.20.3\n", []string{"release alpine 3.20.3 Alpine Linux 3.20.3"}},
		{"debian_version", "etc/debian_version", "bookworm/sid\n", []string{"release debian  Debian GNU/Linux bookworm/sid"}},
		{"redhat-release", "etc/redhat-release", "AlmaLinux release 9.0 (Emerald Puma)\n", []string{"release almalinux 9.0 AlmaLinux release 9.0 (Emerald Puma)"}},
		{"rpm", "usr/lib/sysimage/rpm/rpmdb.sqlite", "", []string{"database rpm"}},
		{"nix", "nix/var/nix/db/db.sqlite", "", []string{"database nix-store"}},
		{"rpm, broken", "var/lib/rpm/Packages", "no database", []string{"database rpm", "blind rpm-database"}},
		{"jar, empty", "app/A.JAR", "", []string{}},
		{"jar, broken", "app/A.JAR", "no zip", []string{"partial archive-invalid"}},
		{"passwd", "etc/passwd", "root::0:0:root:/root:/bin/sh\n# c\napp:x:1000:1000::/:/bin/false\nbroken\n", []string{"account root 0 empty", "account app 1000 shadow", "partial account-records"}},
		{"shadow", "etc/shadow", "root:$6$salt$hash:1::::::\napp:!:1::::::\nx::::::::\n", []string{"account root  set", "account app  locked", "account x  empty"}},
		{"group", "etc/group", "root:x:0:\nwheel:x:10:a,b\n", []string{"group root []", "group wheel [a b]"}},
		{"sudoers", "etc/sudoers.d/x", "# NOPASSWD\ndev ALL=(ALL) NOPASSWD: ALL\nroot ALL=(ALL) ALL\n", []string{"sudoer dev ALL=(ALL) NOPASSWD: ALL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, told(read(t, test.path, test.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotWanted(t *testing.T) {
	for _, path := range []string{"var/lib/dpkg/status-old", "var/lib/dpkg/status.d/a.md5sums", "xdpkg/status", "a/xpackage.json", "etc/hostname", "METADATA", "var/lib/rpm/Basenames", "lib/apk/db/installed-decoy"} {
		if c := cataloger.ForPath(path); c != nil {
			t.Errorf("%s wants %s", c.Name, path)
		}
	}
	for _, head := range []string{"", "\x7fEL", "#!/bin/sh and", "\xca\xfe\xba\xbe\x00\x00\x00\x3dclass", "{\"a\":123456}"} {
		if c := cataloger.ForContent([]byte(head)); c != nil {
			t.Errorf("%s wants %q", c.Name, head)
		}
	}
}

func TestLimits(t *testing.T) {
	out := cataloger.NewResult("lib/apk/db/installed", cataloger.Limits{Packages: 1, Owned: 1})
	cataloger.ForPath(out.Path).Read(strings.NewReader("P:a\nV:1\nF:bin\nR:x\nR:y\n\nP:b\nV:1\n\nP:c\nV:1\n"), out)
	want := []string{"database apk", "apk a 1", "owned a bin/x", "partial too-many-owned-files", "blind too-many-packages"}
	if diff := cmp.Diff(want, told(out)); diff != "" {
		t.Error(diff)
	}
}

func TestHardLinkCopy(t *testing.T) {
	copied := read(t, "lib/apk/db/installed", "P:a\nV:1\nF:bin\nR:x\n\nnonsense\n").At("srv/lib/apk/db/installed")
	if copied.Packages[0].Location != copied.Path || copied.Databases[0].Path != copied.Path || copied.Gaps[0].Path != copied.Path || copied.Owned[0].Database != copied.Path {
		t.Errorf("%+v", copied)
	}
}

// TestSudoersBeyondTheLimits: lines beyond the limit, and the end of a long one.
func TestSudoersBeyondTheLimits(t *testing.T) {
	line := "u ALL=(ALL) NOPASSWD: ALL\n"
	for name, test := range map[string]struct {
		text  string
		lines int
		gaps  []string
	}{
		"as many as may be": {strings.Repeat(line, 10_000), 10_000, nil},
		"one more":          {strings.Repeat(line, 10_001), 10_000, []string{"partial account-records"}},
		"a long line":       {"u ALL=" + strings.Repeat(" ", 64<<10) + "NOPASSWD: ALL\n" + line, 1, []string{"partial account-records"}},
	} {
		r := read(t, "etc/sudoers.d/a", test.text)
		var gaps []string
		for _, g := range r.Gaps {
			gaps = append(gaps, string(g.Kind)+" "+g.Code)
		}
		if diff := cmp.Diff(test.gaps, gaps); diff != "" || len(r.Sudoers) != test.lines {
			t.Errorf("%s: %d lines %s", name, len(r.Sudoers), diff)
		}
	}
}
