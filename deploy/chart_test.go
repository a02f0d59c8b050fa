// Package deploy_test holds what is in this folder to what it must be: the Helm
// chart, the Kubernetes manifests, the Terraform module, the files for nodes. They
// are rendered by the tools' own libraries, and nothing here needs a cluster, but
// TestKubernetes an API server.
//
// It knows the configuration, and nothing of what the program does with it. Start
// with render.
package deploy_test

import (
	"bufio"
	"flag"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/util/yaml"
)

var update = flag.Bool("update", false, "write testdata, the base of kustomize and the tables of docs/kubernetes.md again")

const (
	chartDir   = "helm/pratique"
	kubernetes = "v1.34.0" // the cluster that is rendered for
)

// values are those of a user, laid over the chart's.
type values = map[string]any

// release is one rendering of the chart.
type release struct {
	name, namespace string
	values          values
	cluster         engine.ClientProvider // what lookup finds; nil: nothing
}

// document is one object of a rendering, and the template it is from.
type document struct {
	template string
	text     string
}

func loadChart(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// profiles are the names of the profiles.
func profiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(chartDir + "/profiles/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d profiles: %v", len(files), err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names
}

// profile reads the values of one; "" has none.
func profile(t testing.TB, name string) values {
	t.Helper()
	if name == "" {
		return values{}
	}
	v, err := chartutil.ReadValuesFile(filepath.Join(chartDir, "profiles", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// files renders the templates, notes included, by their names.
func (r release) files(t testing.TB) (map[string]string, error) {
	t.Helper()
	c := loadChart(t)
	if r.name == "" {
		r.name, r.namespace = "pratique", "pratique"
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: kubernetes, Major: "1", Minor: "34"}
	options := chartutil.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}
	v, err := chartutil.ToRenderValues(c, r.values, options, caps)
	if err != nil {
		return nil, err
	}
	if r.cluster != nil {
		return engine.RenderWithClientProvider(c, v, r.cluster)
	}
	return engine.Render(c, v)
}

// render gives the objects, in the order of their templates.
func (r release) render(t testing.TB) []document {
	t.Helper()
	files, err := r.files(t)
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) == ".yaml" {
			all = append(all, split(t, strings.TrimPrefix(name, "pratique/templates/"), files[name])...)
		}
	}
	return all
}

// split cuts YAML into its documents and leaves out the empty ones.
func split(t testing.TB, template, text string) []document {
	t.Helper()
	var all []document
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		raw, err := reader.Read()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", template, err)
		}
		one := strings.TrimSpace(strings.TrimPrefix(string(raw), "---"))
		if one != "" {
			all = append(all, document{template, one + "\n"})
		}
	}
}

// golden compares with a file of testdata, or writes it.
func golden(t testing.TB, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; written by: go test ./deploy -update", err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is rendered; if that is right: go test ./deploy -update", file)
	}
}
