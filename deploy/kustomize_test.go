package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var (
	// helmOnly are lines that only mean something to Helm.
	helmOnly = regexp.MustCompile(`(?m)^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n|^ *annotations:\n *checksum/config: .*\n`)
	hashed   = regexp.MustCompile(`-[0-9a-z]{10}$`)
)

// plain is a rendering of the chart as plain manifests: without what is Helm's,
// the keys, which nobody generates here, and the test Pod.
func plain(t testing.TB, v values) []document {
	t.Helper()
	var all []document
	for _, d := range (release{values: v}).render(t) {
		if d.template == "keys.yaml" || strings.HasPrefix(d.template, "tests/") {
			continue
		}
		all = append(all, document{d.template, helmOnly.ReplaceAllString(d.text, "")})
	}
	return all
}

// written gives the files of deploy/kustomize that come from the chart.
func written(t testing.TB) map[string]string {
	t.Helper()
	definition, err := os.ReadFile(definitionFile)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"base/crds.yaml": string(definition)}
	for _, d := range plain(t, nil) {
		if d.template == "configmap.yaml" {
			continue
		}
		file := strings.Split(strings.TrimSuffix(d.template, ".yaml"), "/")[0]
		switch file {
		case "networkpolicy":
			file = "network"
		case "priorityclass":
			file = "serve"
		}
		files["base/"+file+".yaml"] += "---\n" + d.text
	}
	for folder, name := range map[string]string{"base/config/": "", "overlays/observe/": "observe", "overlays/enforce/": "enforce"} {
		for _, d := range plain(t, profile(t, name)) {
			switch o := decode(t, d); {
			case d.template == "configmap.yaml":
				file := map[string]string{"pratique-config": "serve.yaml", "pratique-admission-config": "admission.yaml"}[o.GetName()]
				var m struct{ Data map[string]string }
				if err := yaml.Unmarshal([]byte(d.text), &m); err != nil {
					t.Fatal(err)
				}
				files[folder+file] = m.Data[configFile]
			case d.template == "admission/mutatingwebhook.yaml":
				files[folder+"mutate.yaml"] = d.text
			}
		}
	}
	return files
}

// TestKustomizeIsWritten: the files that come from the chart are the chart's.
func TestKustomizeIsWritten(t *testing.T) {
	for name, text := range written(t) {
		file := filepath.Join("kustomize", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s is not what the chart renders (%v): go test ./deploy -update", file, err)
		}
	}
}

// TestKustomizeBuilds: base and overlays build, decode strictly, and are the chart
// with the profile of that name, object by object.
func TestKustomizeBuilds(t *testing.T) {
	for folder, name := range map[string]string{"base": "", "overlays/observe": "observe", "overlays/enforce": "enforce"} {
		t.Run(folder, func(t *testing.T) {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("kustomize", folder))
			if err != nil {
				t.Fatal(err)
			}
			text, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			documents := split(t, folder, string(text))
			decodeAll(t, documents)
			got, want := comparable(t, documents), comparable(t, plain(t, profile(t, name)))
			delete(got, "v1 Namespace /pratique")
			delete(got, "apiextensions.k8s.io/v1 CustomResourceDefinition /imageexceptions.pratique.io") // Helm keeps it apart
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("objects of the chart (-) and of %s (+):\n%s", folder, diff)
			}
			for id := range want {
				if diff := cmp.Diff(want[id], got[id]); diff != "" {
					t.Errorf("%s in the chart (-) and in %s (+):\n%s", id, folder, diff)
				}
			}
		})
	}
}

// comparable gives the objects by kind, namespace and name; names that have a hash
// of the content are without it.
func comparable(t testing.TB, documents []document) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, d := range documents {
		o := decode(t, d)
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(d.text), &fields); err != nil {
			t.Fatal(err)
		}
		name := o.GetName()
		if o.kind == "v1 ConfigMap" {
			name = hashed.ReplaceAllString(name, "")
		}
		all[o.kind+" "+o.GetNamespace()+"/"+name] = unhashed(fields).(map[string]any)
	}
	return all
}

// unhashed takes the hashes off the names of ConfigMaps, wherever they are named.
func unhashed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			v[key] = unhashed(child)
		}
		if c, ok := v["configMap"].(map[string]any); ok {
			c["name"] = hashed.ReplaceAllString(c["name"].(string), "")
		}
		if m, ok := v["metadata"].(map[string]any); ok && v["kind"] == "ConfigMap" {
			m["name"] = hashed.ReplaceAllString(m["name"].(string), "")
		}
	case []any:
		for i, child := range v {
			v[i] = unhashed(child)
		}
	}
	return v
}

// TestKustomizeConfiguration: what stands in the folders loads.
func TestKustomizeConfiguration(t *testing.T) {
	for _, folder := range []string{"base/config", "overlays/observe", "overlays/enforce"} {
		for _, file := range []string{"serve.yaml", "admission.yaml"} {
			raw, err := os.ReadFile(filepath.Join("kustomize", folder, file))
			if err != nil {
				t.Fatal(err)
			}
			load(t, string(raw))
		}
	}
}
