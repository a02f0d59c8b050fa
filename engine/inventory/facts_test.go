package inventory_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/inventory"
)

func secret(path, fingerprint string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		file(path)(r)
		r.Secrets = append(r.Secrets, inventory.Secret{Rule: "rule", Path: path, Line: 1, Fingerprint: fingerprint})
	}
}

func mode(kind inventory.EntryKind, path string, mode uint32, caps string) func(*inventory.Report) {
	return func(r *inventory.Report) {
		r.Entries.Append(inventory.Entry{Path: path, Kind: kind, Mode: mode, Caps: caps})
	}
}

// TestSecretsOfAllLayers: a secret is in the image as long as a layer has it,
// whatever later layers do to the file.
func TestSecretsOfAllLayers(t *testing.T) {
	type place struct {
		path    string
		layer   int
		deleted bool
	}
	for _, test := range []struct {
		name   string
		layers []*inventory.Report
		want   []place
	}{
		{"in place", []*inventory.Report{lay(secret("app/key", "1"))}, []place{{"app/key", 0, false}}},
		{"deleted", []*inventory.Report{lay(secret("app/key", "1")), lay(whiteout("app/key"))}, []place{{"app/key", 0, true}}},
		{"its folder deleted", []*inventory.Report{lay(secret("app/key", "1")), lay(whiteout("app"))}, []place{{"app/key", 0, true}}},
		{"replaced by a file without one", []*inventory.Report{lay(secret("app/key", "1")), lay(file("app/key"))}, []place{{"app/key", 0, true}}},
		{"replaced by another", []*inventory.Report{lay(secret("app/key", "1")), lay(secret("app/key", "2"))}, []place{{"app/key", 0, true}, {"app/key", 1, false}}},
		{"the same again", []*inventory.Report{lay(secret("app/key", "1")), lay(file("x")), lay(secret("app/key", "1"))}, []place{{"app/key", 0, false}}},
		{"deleted and brought back", []*inventory.Report{lay(secret("k", "1")), lay(whiteout("k")), lay(secret("k", "1"))}, []place{{"k", 0, false}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []place
			for _, s := range squash(test.layers...).Secrets {
				got = append(got, place{s.Path, s.Layer, s.Deleted})
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMarkedFiles: what stands out by its mode, as the finished image has it.
func TestMarkedFiles(t *testing.T) {
	const f, d, l = inventory.File, inventory.Dir, inventory.Symlink
	base := lay(mode(f, "usr/bin/su", 0o4755, ""), mode(f, "usr/bin/ls", 0o755, ""), mode(d, "tmp", 0o1777, ""), mode(d, "var/www", 0o777, ""), mode(f, "etc/shadow", 0o640, ""), mode(l, "l", 0o777, ""))
	for _, test := range []struct {
		name   string
		layers []*inventory.Report
		want   []string
	}{
		{"as it is", []*inventory.Report{base}, []string{"etc/shadow", "usr/bin/su", "var/www"}},
		{"mode changed", []*inventory.Report{base, lay(mode(f, "usr/bin/su", 0o755, ""), mode(d, "var/www", 0o755, ""))}, []string{"etc/shadow"}},
		{"changed for the worse", []*inventory.Report{base, lay(mode(f, "usr/bin/ls", 0o777, ""), mode(d, "tmp", 0o777, ""))}, []string{"etc/shadow", "tmp", "usr/bin/ls", "usr/bin/su", "var/www"}},
		{"deleted", []*inventory.Report{base, lay(whiteout("usr"), whiteout("var/www"))}, []string{"etc/shadow"}},
		{"capabilities", []*inventory.Report{lay(mode(f, "usr/bin/ping", 0o755, "0100"))}, []string{"usr/bin/ping"}},
		{"a folder keeps what is in it", []*inventory.Report{lay(mode(f, "srv/x", 0o4755, "")), lay(mode(d, "srv", 0o777, ""))}, []string{"srv", "srv/x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, m := range squash(test.layers...).Marked {
				got = append(got, m.Path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFactsAreHandedOn: what a file tells is told of the image while the file is
// there.
func TestFactsAreHandedOn(t *testing.T) {
	tells := func(path string) func(*inventory.Report) {
		return func(r *inventory.Report) {
			file(path)(r)
			r.Accounts = append(r.Accounts, inventory.Account{Path: path, Name: "root"})
			r.Groups = append(r.Groups, inventory.Group{Path: path, Name: "root"})
			r.Sudoers = append(r.Sudoers, inventory.Sudoer{Path: path, Line: "ALL"})
			r.Licenses = append(r.Licenses, inventory.LicenseFile{Path: path, Expression: "MIT"})
			r.Retrieved = append(r.Retrieved, inventory.Retrieved{Path: path})
			r.Contents = append(r.Contents, inventory.ContentMatch{Path: path})
			r.Malware = append(r.Malware, inventory.Malware{Path: path})
		}
	}
	count := func(im *inventory.Image) []int {
		return []int{len(im.Accounts), len(im.Groups), len(im.Sudoers), len(im.Licenses), len(im.Retrieved), len(im.Contents), len(im.Malware)}
	}
	im := squash(lay(file("x")), lay(tells("a"), tells("b")), lay(whiteout("b")))
	if diff := cmp.Diff([]int{1, 1, 1, 1, 1, 1, 1}, count(im)); diff != "" || im.Malware[0].Layer != 1 {
		t.Errorf("%s malware %+v", diff, im.Malware)
	}
	if diff := cmp.Diff(make([]int, 7), count(squash(lay(tells("a")), lay(whiteout("a"))))); diff != "" {
		t.Error(diff)
	}
}
