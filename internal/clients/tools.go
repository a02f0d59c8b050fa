package clients

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// toolsDir is where scripts/suites puts Go programs, below the module's root.
// They carry their version in their name, so that a program of another version
// is never taken for the one that is wanted.
const toolsDir = "bin/tools"

// needTool answers with the path of a Go program, or ends the test as Need does.
func needTool(t testing.TB, name, module string) string {
	t.Helper()
	file := filepath.Join(moduleRoot(t), toolsDir, toolFile(module))
	if _, err := exec.LookPath(file); err != nil {
		Skip(t, name, "no "+toolsDir+"/"+toolFile(module)+" (scripts/suites builds it from "+module+")")
	}
	return file
}

// toolFile is the name of the program that is built from package@version.
func toolFile(module string) string {
	pkg, version, _ := strings.Cut(module, "@")
	return path.Base(pkg) + "-" + version
}

// moduleRoot walks up from the folder of the test's package.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// dockerConfig is the environment of a Go program whose registry set-up is Docker's file.
func dockerConfig(t testing.TB, home string) []string {
	t.Helper()
	makeDirs(t, home, "docker")
	writeFile(t, filepath.Join(home, "docker", "config.json"), "{}\n")
	return environ(home, "DOCKER_CONFIG="+filepath.Join(home, "docker"))
}

// Modules lists package@version of every Go program that a suite needs, as
// scripts/suites must build them.
func Modules() []string {
	var modules []string
	for _, s := range suites {
		if s.module != "" {
			modules = append(modules, s.module)
		}
	}
	slices.Sort(modules)
	return modules
}
