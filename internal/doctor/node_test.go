package doctor_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/internal/doctor"
)

var update = flag.Bool("update", false, "write what is wanted anew")

const proxy = "https://pratique.example:5000"

// TestNode reads the files of nodes. A file of testdata/node is one node: its files,
// "options" (as JSON, may be missing), and in "want" what the doctor says. A file
// whose name ends in "-> TARGET" is a symbolic link.
func TestNode(t *testing.T) {
	files, err := filepath.Glob("testdata/node/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := options(t.TempDir())
			var want string
			for _, f := range archive.Files {
				switch f.Name {
				case "options":
					if err := json.Unmarshal(f.Data, &o); err != nil {
						t.Fatal(err)
					}
				case "want":
					want = string(f.Data)
				default:
					place(t, o.Root, f)
				}
			}
			report, err := doctor.Node(o)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(told(report), o.Root, "ROOT")
			if *update {
				rewrite(t, file, archive, got)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func options(root string) doctor.Options {
	return doctor.Options{
		Proxy: proxy, Node: true, Timeout: time.Second, Now: time.Now,
		Files: doctor.Files{Root: root, ContainerdConfig: doctor.DefaultContainerdConfig, RegistriesConf: doctor.DefaultRegistriesConf, DockerConfig: doctor.DefaultDockerConfig},
	}
}

// place makes a file of the node.
func place(t *testing.T, root string, f txtar.File) {
	t.Helper()
	name, target, link := strings.Cut(f.Name, " -> ")
	path := filepath.Join(root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	switch {
	case err != nil:
	case link:
		err = os.Symlink(target, path)
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(path, 0o755)
	default:
		err = os.WriteFile(path, f.Data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// told is a report as text: one line a check, and what to do below.
func told(r *doctor.Report) string {
	var b strings.Builder
	for _, c := range r.Checks {
		result := string(c.Result)
		if !c.Asked {
			result = "not asked"
		}
		fmt.Fprintf(&b, "%s | %s | %s\n", c.Name, result, c.Detail)
		if c.Next != "" {
			fmt.Fprintf(&b, "    %s\n", c.Next)
		}
	}
	return b.String()
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, want string) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name == "want" {
			archive.Files[i].Data = []byte(want)
		}
	}
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDeployedFiles: the files that are shipped for nodes pass, placed as their
// README says.
func TestDeployedFiles(t *testing.T) {
	const nodes = "../../deploy/nodes/"
	for name, files := range map[string]map[string]string{
		"containerd 1": {"containerd/config-v2.toml": "etc/containerd/config.toml"},
		"containerd 2": {"containerd/config-v3.toml": "etc/containerd/config.toml"},
		"CRI-O":        {"crio/50-pratique.conf": "etc/containers/registries.conf.d/50-pratique.conf", "crio/policy.json": "etc/containers/policy.json"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			o.Registries, o.Direct = []string{"docker.io", "quay.io"}, []string{"registry.example"}
			if strings.HasPrefix(name, "containerd") {
				files["containerd/_default/hosts.toml"] = "etc/containerd/certs.d/_default/hosts.toml"
				files["containerd/registry.example/hosts.toml"] = "etc/containerd/certs.d/registry.example/hosts.toml"
			}
			for from, to := range files {
				raw, err := os.ReadFile(nodes + from)
				if err != nil {
					t.Fatal(err)
				}
				place(t, o.Root, txtar.File{Name: to, Data: raw})
			}
			report, err := doctor.Node(o)
			if err != nil {
				t.Fatal(err)
			}
			if report.Count(doctor.OK) != len(report.Checks) || len(report.Checks) < 4 {
				t.Errorf("not all is well:\n%s", told(report))
			}
		})
	}
}
