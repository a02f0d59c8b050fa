package deploy_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
)

// module is one folder of Terraform files.
type module struct {
	declared  map[string]bool // "var.x", "local.x", "data.t.n", "t.n"
	providers []string
	used      map[string]hcl.Range
	locals    map[string]hcl.Expression
	blocks    []*hclsyntax.Block
}

func modules(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("terraform/modules/*")
	if err != nil || len(dirs) < 3 {
		t.Fatalf("%d modules: %v", len(dirs), err)
	}
	return append(dirs, "terraform")
}

// parse reads a folder.
func parse(t *testing.T, dir string) module {
	t.Helper()
	m := module{declared: map[string]bool{}, used: map[string]hcl.Range{}, locals: map[string]hcl.Expression{}}
	files, err := filepath.Glob(dir + "/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", dir, err)
	}
	parser := hclparse.NewParser()
	for _, name := range files {
		f, diags := parser.ParseHCLFile(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		m.blocks = append(m.blocks, f.Body.(*hclsyntax.Body).Blocks...)
	}
	for _, b := range m.blocks {
		m.declare(b)
		m.use(b.Type, b.Body)
	}
	return m
}

func (m *module) declare(b *hclsyntax.Block) {
	switch b.Type {
	case "variable":
		m.declared["var."+b.Labels[0]] = true
	case "resource":
		m.declared[strings.Join(b.Labels, ".")] = true
	case "data":
		m.declared["data."+strings.Join(b.Labels, ".")] = true
	case "locals":
		for name, a := range b.Body.Attributes {
			m.declared["local."+name] = true
			m.locals[name] = a.Expr
		}
	case "terraform":
		for _, inner := range b.Body.Blocks {
			for name := range inner.Body.Attributes {
				m.providers = append(m.providers, name)
			}
		}
	}
}

// use notes what the expressions of a block refer to. A variable does not use
// itself by validating itself.
func (m *module) use(kind string, body *hclsyntax.Body) {
	if kind == "variable" {
		return
	}
	for _, a := range body.Attributes {
		for _, v := range a.Expr.Variables() {
			m.used[address(v)] = v.SourceRange()
		}
	}
	for _, inner := range body.Blocks {
		m.use(inner.Type, inner.Body)
	}
}

// address gives the part of a reference that names what is declared.
func address(v hcl.Traversal) string {
	parts := []string{v.RootName()}
	want := 2
	if parts[0] == "data" {
		want = 3
	}
	for _, step := range v[1:] {
		if a, ok := step.(hcl.TraverseAttr); ok && len(parts) < want {
			parts = append(parts, a.Name)
		}
	}
	return strings.Join(parts, ".")
}

// TestTerraform: every module parses; every variable is used, described and typed;
// every reference leads to something; every resource has its provider.
func TestTerraform(t *testing.T) {
	for _, dir := range modules(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := parse(t, dir)
			for name, at := range m.used {
				root, _, _ := strings.Cut(name, ".")
				if !m.declared[name] && root != "each" && root != "path" {
					t.Errorf("%s: %s is not declared", at, name)
				}
			}
			for name := range m.declared {
				_, used := m.used[name]
				if (strings.HasPrefix(name, "var.") || strings.HasPrefix(name, "local.")) && !used {
					t.Errorf("%s is not used", name)
				}
			}
			for _, b := range m.blocks {
				if err := m.check(b); err != nil {
					t.Errorf("%s: %v", b.DefRange(), err)
				}
			}
		})
	}
}

// check tells what a block lacks.
func (m *module) check(b *hclsyntax.Block) error {
	has := func(name string) bool { return b.Body.Attributes[name] != nil }
	switch b.Type {
	case "variable":
		if !has("description") || !has("type") {
			return fmt.Errorf("variable %s has no description or no type", b.Labels[0])
		}
	case "output":
		if !has("description") || !has("value") {
			return fmt.Errorf("output %s has no description or no value", b.Labels[0])
		}
	case "resource", "data":
		if provider, _, _ := strings.Cut(b.Labels[0], "_"); !slices.Contains(m.providers, provider) {
			return fmt.Errorf("%s has no provider among %v", b.Labels[0], m.providers)
		}
	case "locals", "terraform":
	default:
		return fmt.Errorf("block %s is not checked here", b.Type)
	}
	return nil
}

// TestTerraformNames: the names in the module's outputs are those of the chart.
func TestTerraformNames(t *testing.T) {
	m := parse(t, "terraform")
	for _, r := range []release{{name: "pratique", namespace: "pratique"}, {name: "gate", namespace: "platform"}, {name: "pratique", namespace: "other"}} {
		all := decodeAll(t, r.render(t))
		service := m.eval(t, "service", r)
		name, namespace, _ := strings.Cut(strings.TrimSuffix(service, ".svc"), ".")
		if find[*corev1.Service](t, all, name).Namespace != namespace {
			t.Errorf("%s is no Service of the chart", service)
		}
		find[*registrationv1.ValidatingWebhookConfiguration](t, all, m.eval(t, "webhook", r))
	}
}

// eval computes a local for a release.
func (m module) eval(t *testing.T, name string, r release) string {
	t.Helper()
	contains := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(strings.Contains(args[0].AsString(), args[1].AsString())), nil
		},
	})
	ctx := &hcl.EvalContext{
		Functions: map[string]function.Function{"strcontains": contains},
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(r.name), "namespace": cty.StringVal(r.namespace)})},
	}
	full, diags := m.locals["fullname"].Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	ctx.Variables["local"] = cty.ObjectVal(map[string]cty.Value{"fullname": full})
	v, diags := m.locals[name].Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return v.AsString()
}

// TestTerraformProfiles: the module offers the profiles that there are.
func TestTerraformProfiles(t *testing.T) {
	for _, b := range parse(t, "terraform").blocks {
		if b.Type != "variable" || b.Labels[0] != "profile" {
			continue
		}
		call := b.Body.Blocks[0].Body.Attributes["condition"].Expr.(*hclsyntax.FunctionCallExpr)
		list, diags := call.Args[0].Value(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		var offered []string
		for _, v := range list.AsValueSlice() {
			offered = append(offered, v.AsString())
		}
		if slices.Sort(offered); !slices.Equal(offered, profiles(t)) {
			t.Errorf("offered %v, there are %v", offered, profiles(t))
		}
	}
}
