package cataloger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

// paths are what a Debian image holds, by turns, and one path for each
// cataloger that chooses by it.
var paths = []string{
	"usr/share/doc/libssl3/copyright", "usr/share/doc/libssl3/changelog.Debian.gz", "usr/lib/x86_64-linux-gnu/libssl.so.3",
	"usr/share/locale/de/LC_MESSAGES/dpkg.mo", "usr/include/openssl/ssl.h", "usr/bin/openssl", "usr/share/man/man1/ls.1.gz",
	"usr/lib/python3/dist-packages/yaml/__init__.py", "usr/share/zoneinfo/Europe/Berlin", "usr/share/perl/5.36.0/strict.pm",
	"var/lib/dpkg/status", "var/lib/dpkg/status.d/openssl", "var/lib/dpkg/status.d/a.md5sums", "var/lib/dpkg/status-old",
	"var/lib/dpkg/info/a.list", "lib/apk/db/installed", "usr/lib/opkg/status", "usr/lib/opkg/info/a.list",
	"var/lib/pacman/local/a-1-1/desc", "var/lib/pacman/local/a-1-1/files", "var/db/pkg/a/b-1/PF", "var/db/pkg/a/b-1/CONTENTS",
	"etc/os-release", "etc/os-release.d/x", "etc/debian_version", "package.json", "a/PACKAGE.JSON", "a/.yarn/cache/a.zip", "a.zip",
	"x.dist-info/METADATA", "METADATA", "x.egg-info", "x.egg-info/PKG-INFO", "a.egg/EGG-INFO/PKG-INFO", "a.egg",
	"specifications/a-1.gemspec", "specifications/default/a-1.gemspec", "a-1.gemspec", "vendor/composer/installed.json", "installed.json",
	"app.deps.json", "x.json", "R/library/a/DESCRIPTION", "yarn.lock", "node_modules/a/yarn.lock", "Cargo.lock", "cargo.lock",
	"requirements.txt", "pnpm-lock.yaml", "pylock.toml", "var/lib/rpm/Packages", "a.jar", "a.JAR", "a.rar", "usr/lib/erlang/releases/25/OTP_VERSION", "OTP_VERSION", "nix/var/nix/db/db.sqlite",
	"etc/passwd", "etc/shadow", "etc/group", "etc/sudoers", "etc/sudoers.d/x", "srv/etc/passwd",
	"", "/", ".", "a.", "status.d/", "dir.jar/x",
}

// byScan asks all catalogers, one after the other.
func byScan(path string) *cataloger.Cataloger {
	for _, c := range cataloger.All {
		if c.Wants != nil && c.Wants(path) {
			return c
		}
	}
	return nil
}

func TestForPathIsTheFirstOfAll(t *testing.T) {
	wanted := map[string]bool{}
	for _, path := range paths {
		got := cataloger.ForPath(path)
		if got != byScan(path) {
			t.Errorf("%s: the table of names gives %v, all give %v", path, got, byScan(path))
		}
		if got != nil {
			wanted[got.Name] = true
		}
	}
	for _, c := range cataloger.All {
		if c.Wants != nil && !wanted[c.Name] {
			t.Errorf("no path here is for %s", c.Name)
		}
	}
}

func TestClaims(t *testing.T) {
	list := "/usr/lib/ruby/gems/3.1.0/specifications/a-1.gemspec\n/usr/share/java/a.jar\n/usr/share/nodejs/a/package.json\n" +
		"/usr/share/php/vendor/composer/installed.json\n/usr/lib/dotnet/a.deps.json\n/usr/share/x.egg\n/usr/lib/R/library/a/DESCRIPTION\n" +
		"/usr/lib/python3/dist-packages/a.dist-info/METADATA\n/usr/sbin/a.sh\n/usr/lib/a/program\n" +
		"/usr/share/a/yarn.lock\n/var/lib/dpkg/status\n/usr/share/doc/a/copyright\n/etc/a\n/usr/lib/a.so\n"
	var want []string
	for _, path := range strings.Split(list, "\n")[:10] {
		want = append(want, "owned a "+path[1:])
	}
	if diff := cmp.Diff(want, told(read(t, "var/lib/dpkg/info/a.list", list))); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkForPath(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		cataloger.ForPath(paths[i%10])
	}
}

// BenchmarkList reads the list of one large package: 10,000 files.
func BenchmarkList(b *testing.B) {
	var list strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&list, "/%s%d\n", paths[i%10], i)
	}
	c := cataloger.ForPath("var/lib/dpkg/info/a.list")
	for b.Loop() {
		out := cataloger.NewResult("var/lib/dpkg/info/a.list", cataloger.Limits{Owned: 200_000})
		c.Read(strings.NewReader(list.String()), out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/line")
}
