package cataloger

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Lock files in JSON are decoded once, whole: what is nested is not looked at
// twice, so that the time does not grow with the depth.

// npmDependency is an entry of a package-lock.json of version 1.
type npmDependency struct {
	Version      string                   `json:"version"`
	Dependencies map[string]npmDependency `json:"dependencies"`
}

// readNpmLock reads package-lock.json. Version 1 has a tree of dependencies,
// version 3 a list of places, version 2 both.
// https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json
func readNpmLock(raw []byte, l *lock) error {
	var document struct {
		Packages map[string]struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Link    bool   `json:"link"`
		} `json:"packages"`
		Dependencies map[string]npmDependency `json:"dependencies"`
	}
	err := json.Unmarshal(raw, &document)
	for _, place := range slices.Sorted(maps.Keys(document.Packages)) {
		entry := document.Packages[place]
		i := strings.LastIndex(place, "node_modules/")
		if i < 0 || entry.Link {
			continue // the project itself, and its workspaces
		}
		name := place[i+len("node_modules/"):]
		if entry.Name != "" { // else the name; this is an alias
			name = entry.Name
		}
		if entry.Version == "" {
			continue // an optional one for another platform, or a directory
		}
		l.add(name, entry.Version)
	}
	if document.Packages == nil {
		addNpmTree(document.Dependencies, l)
	}
	return err
}

func addNpmTree(tree map[string]npmDependency, l *lock) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		entry := tree[name]
		version := entry.Version
		if real, ok := strings.CutPrefix(version, "npm:"); ok { // an alias
			if i := strings.LastIndexByte(real, '@'); i > 0 {
				name, version = real[:i], real[i+1:]
			}
		}
		if !strings.ContainsAny(version, ":/") { // a URL, or a path
			l.add(name, version)
		}
		addNpmTree(entry.Dependencies, l)
	}
}

// readPipfileLock: https://github.com/pypa/pipfile
func readPipfileLock(raw []byte, l *lock) error {
	type entries map[string]struct {
		Version string `json:"version"` // "==1.2.3"; none for a repository
	}
	var document struct {
		Default entries `json:"default"`
		Develop entries `json:"develop"`
	}
	err := json.Unmarshal(raw, &document)
	for _, group := range []entries{document.Default, document.Develop} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			if version := strings.TrimLeft(group[name].Version, "= "); version != "" {
				l.add(name, version)
			}
		}
	}
	return err
}

// readComposerLock leaves out what comes from a branch.
func readComposerLock(raw []byte, l *lock) error {
	type entry struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	var document struct {
		Packages    json.RawMessage `json:"packages"`
		Development json.RawMessage `json:"packages-dev"`
	}
	err := json.Unmarshal(raw, &document)
	for _, list := range []json.RawMessage{document.Packages, document.Development} {
		if len(list) == 0 {
			continue
		}
		err = cmp.Or(err, elements(list, func(p entry) {
			if !isComposerBranch(p.Version) {
				l.add(p.Name, p.Version)
			}
		}))
	}
	return err
}

// readNugetLock reads packages.lock.json: for each framework the packages.
// https://learn.microsoft.com/nuget/consume-packages/package-references-in-project-files
func readNugetLock(raw []byte, l *lock) error {
	var document struct {
		Dependencies map[string]map[string]struct {
			Type     string `json:"type"`
			Resolved string `json:"resolved"`
		} `json:"dependencies"`
	}
	err := json.Unmarshal(raw, &document)
	for _, framework := range slices.Sorted(maps.Keys(document.Dependencies)) {
		packages := document.Dependencies[framework]
		for _, name := range slices.Sorted(maps.Keys(packages)) {
			if p := packages[name]; !strings.EqualFold(p.Type, "Project") {
				l.add(name, p.Resolved)
			}
		}
	}
	return err
}

// readSwiftResolved reads Package.resolved. Packages are named by where they
// come from, as advisories do: "github.com/vapor/vapor".
func readSwiftResolved(raw []byte, l *lock) error {
	type pin struct {
		Location string `json:"location"`
		URL      string `json:"repositoryURL"` // version 1
		State    struct {
			Version string `json:"version"` // none for a branch
		} `json:"state"`
	}
	var document struct {
		Pins   []pin `json:"pins"`
		Object struct {
			Pins []pin `json:"pins"`
		} `json:"object"`
	}
	err := json.Unmarshal(raw, &document)
	for _, p := range slices.Concat(document.Pins, document.Object.Pins) {
		if p.State.Version != "" {
			l.add(repository(p.Location+p.URL), p.State.Version)
		}
	}
	return err
}

// repository gives "host/owner/name" of an address of a git repository.
func repository(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	} else if rest, ok := strings.CutPrefix(address, "git@"); ok {
		address = strings.Replace(rest, ":", "/", 1)
	}
	return strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git")
}

// readConanLock reads the references "name/version@user/channel#revision" of
// version 2, and of version 1 before it.
// https://docs.conan.io/2/tutorial/versioning/lockfiles.html
func readConanLock(raw []byte, l *lock) error {
	var document struct {
		Requires []string `json:"requires"`
		Build    []string `json:"build_requires"`
		Python   []string `json:"python_requires"`
		Graph    struct {
			Nodes map[string]struct {
				Ref     string `json:"ref"`
				Package string `json:"pref"` // before 0.4, with the package's id behind a colon
				Path    string `json:"path"` // of the project itself
			} `json:"nodes"`
		} `json:"graph_lock"`
	}
	err := json.Unmarshal(raw, &document)
	refs := slices.Concat(document.Requires, document.Build, document.Python)
	for _, id := range slices.Sorted(maps.Keys(document.Graph.Nodes)) {
		node := document.Graph.Nodes[id]
		if ref := cmp.Or(node.Ref, node.Package); strings.Contains(ref, "/") && node.Path == "" {
			refs = append(refs, ref)
		}
	}
	for _, ref := range refs {
		name, version, _ := strings.Cut(ref, "/")
		if i := strings.IndexAny(version, "@#%:"); i >= 0 {
			version = version[:i]
		}
		l.add(name, version)
	}
	return err
}

// readRenvLock leaves out what does not come from a repository of CRAN's kind:
// Bioconductor's packages, GitHub's.
// https://rstudio.github.io/renv/articles/lockfile.html
func readRenvLock(raw []byte, l *lock) error {
	var document struct {
		Packages map[string]struct {
			Package    string `json:"Package"`
			Version    string `json:"Version"`
			Source     string `json:"Source"`
			Repository string `json:"Repository"`
		} `json:"Packages"`
	}
	err := json.Unmarshal(raw, &document)
	for _, key := range slices.Sorted(maps.Keys(document.Packages)) {
		if p := document.Packages[key]; p.Source == "Repository" || p.Source == "" && p.Repository != "" {
			l.add(p.Package, p.Version)
		}
	}
	return err
}
