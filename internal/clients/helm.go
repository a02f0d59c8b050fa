package clients

import (
	"path/filepath"
	"strings"
	"testing"
)

// Helm is helm 3. Charts are not images: it has Package in place of Load, and
// names charts as it does itself.
type Helm struct {
	t    testing.TB
	tool tool
	home string
}

// NewHelm is a helm with a set-up of its own. Runs as any user.
func NewHelm(t testing.TB) *Helm {
	t.Helper()
	path := Need(t, SuiteHelm)
	home := tempDir(t)
	makeDirs(t, home, "charts", "pulled")
	return &Helm{t: t, home: home, tool: tool{path: path, env: append(dockerConfig(t, home),
		"HELM_CACHE_HOME="+filepath.Join(home, "cache"),
		"HELM_CONFIG_HOME="+filepath.Join(home, "config"),
		"HELM_DATA_HOME="+filepath.Join(home, "data"),
	)}}
}

// Run runs one command and answers with all that it printed.
func (h *Helm) Run(args ...string) (string, error) {
	h.t.Helper()
	return h.tool.run(h.t, args...)
}

// Login asks the registry whether it takes the password, and keeps it for the
// registry. It answers with all that was printed.
func (h *Helm) Login(registry, user, password string) (string, error) {
	h.t.Helper()
	return h.tool.runWith(h.t, password, "registry", "login", registry, "--username", user, "--password-stdin", "--plain-http")
}

// Package makes a chart and answers with its archive. What the note says is in
// the chart: another note is another digest.
func (h *Helm) Package(name, version, note string) string {
	h.t.Helper()
	makeDirs(h.t, h.home, "charts/"+name+"/templates")
	dir := filepath.Join(h.home, "charts", name)
	writeFile(h.t, filepath.Join(dir, "Chart.yaml"),
		"apiVersion: v2\nname: "+name+"\nversion: "+version+"\n")
	writeFile(h.t, filepath.Join(dir, "templates", "note.yaml"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {note: "+note+"}\n")
	must(h.t, h.Run, "package", dir, "--destination", h.home)
	return filepath.Join(h.home, name+"-"+version+".tgz")
}

// Push pushes a chart's archive below repository ("host:port/team"): its name
// and version are added by helm. It answers with all that was printed.
func (h *Helm) Push(archive, repository string) (string, error) {
	h.t.Helper()
	return h.Run("push", archive, "oci://"+repository, "--plain-http")
}

// Pull pulls ref ("host:port/team/chart:1.0.0") and answers with all that was
// printed.
func (h *Helm) Pull(ref string) (string, error) {
	h.t.Helper()
	chart, version := ref, ""
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		chart, version = ref[:i], ref[i+1:]
	}
	return h.Run("pull", "oci://"+chart, "--version", version, "--plain-http", "--destination", filepath.Join(h.home, "pulled"))
}
