package layer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/internal/clients"
	it "github.com/pratique/pratique/internal/imagetest"
)

// manager is an operating system's own package manager, on a root of the test's.
type manager struct {
	root, work string
	install    func(t *testing.T, name, version string)
	remove     func(t *testing.T, name string)
	list       func(t *testing.T) []string // "name version", sorted
}

// TestPackageManagers: an image whose upper layers install, upgrade and remove
// packages has what the system's own tool lists on the root that they make.
func TestPackageManagers(t *testing.T) {
	for name, open := range map[string]func(*testing.T) manager{"dpkg": openDpkg, "rpm": openRPM} {
		t.Run(name, func(t *testing.T) {
			m := open(t)
			steps := []func(){
				func() { m.install(t, "one", "1.0-1"); m.install(t, "two", "2.0-1"); m.install(t, "three", "3.0-1") },
				func() { m.install(t, "one", "1.1-1") },
				func() { m.remove(t, "two") },
				func() { m.install(t, "two", "2.5-1"); m.remove(t, "three") },
			}
			before := it.Snapshot{}
			in := inventory.SquashInput{}
			for i, step := range steps {
				step()
				after, err := it.TakeSnapshot(m.root)
				if err != nil {
					t.Fatal(err)
				}
				l := it.Gzip(after.Since(before)...)
				in.Layers = append(in.Layers, inventory.SquashLayer{Digest: digest.FromBytes(l.Blob), Size: int64(len(l.Blob)), Report: analyze(t, l.Blob)})
				in.Config.DiffIDs = append(in.Config.DiffIDs, l.DiffID)
				before = after
				im := inventory.Squash(in)
				got := []string{}
				for _, p := range im.Packages {
					got = append(got, p.Name+" "+strings.TrimPrefix(p.Version, "0:"))
				}
				slices.Sort(got)
				if diff := cmp.Diff(m.list(t), got); diff != "" {
					t.Errorf("after step %d: %s lists, but not the image, or the other way round (-tool +image)\n%s", i, name, diff)
				}
				if blind := im.Blind(); len(blind) > 0 {
					t.Errorf("after step %d: %+v", i, blind)
				}
			}
		})
	}
}

// run runs a program of which nothing but success is expected.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func lines(out string) []string {
	list := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	slices.Sort(list)
	return list
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func openDpkg(t *testing.T) manager {
	clients.Need(t, clients.SuiteDpkg)
	m := manager{root: t.TempDir(), work: t.TempDir()}
	admin := filepath.Join(m.root, "var/lib/dpkg")
	write(t, filepath.Join(admin, "status"), "")
	write(t, filepath.Join(admin, "info/format"), "1\n")
	if err := os.MkdirAll(filepath.Join(admin, "updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	dpkg := func(t *testing.T, args ...string) {
		run(t, "dpkg", append([]string{"--root=" + m.root, "--force-not-root,script-chrootless,bad-path", "--log=" + filepath.Join(m.work, "log")}, args...)...)
	}
	m.install = func(t *testing.T, name, version string) {
		dir := filepath.Join(m.work, name+"-"+version)
		write(t, filepath.Join(dir, "DEBIAN/control"), fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n", name, version))
		write(t, filepath.Join(dir, "usr/share", name, "file"), version)
		run(t, "dpkg-deb", "--build", dir, dir+".deb")
		dpkg(t, "--install", dir+".deb")
	}
	m.remove = func(t *testing.T, name string) { dpkg(t, "--purge", name) }
	m.list = func(t *testing.T) []string {
		return lines(run(t, "dpkg-query", "--admindir="+admin, "-W", "-f", "${Package} ${Version}\n"))
	}
	return m
}

func openRPM(t *testing.T) manager {
	clients.Need(t, clients.SuiteRPM)
	m := manager{root: t.TempDir(), work: t.TempDir()}
	rpm := func(t *testing.T, args ...string) string {
		return run(t, "rpm", append([]string{"--root", m.root, "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite", "--nosignature"}, args...)...)
	}
	rpm(t, "--initdb")
	m.install = func(t *testing.T, name, version string) {
		number, release, _ := strings.Cut(version, "-")
		spec := filepath.Join(m.work, name+"-"+version+".spec")
		write(t, spec, fmt.Sprintf("Name: %s\nVersion: %s\nRelease: %s\nSummary: test\nLicense: MIT\nBuildArch: noarch\n%%description\ntest\n"+
			"%%install\nmkdir -p %%{buildroot}/usr/share/%s\necho %s > %%{buildroot}/usr/share/%s/file\n%%files\n/usr/share/%s/file\n", name, number, release, name, version, name, name))
		run(t, "rpmbuild", "-bb", "--define", "_topdir "+m.work, spec)
		rpm(t, "--upgrade", "--nodeps", "--ignoreos", "--ignorearch", "--noscripts", filepath.Join(m.work, "RPMS/noarch", name+"-"+version+".noarch.rpm"))
	}
	m.remove = func(t *testing.T, name string) { rpm(t, "--erase", "--nodeps", "--noscripts", name) }
	m.list = func(t *testing.T) []string {
		return lines(rpm(t, "--query", "--all", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\n"))
	}
	return m
}
