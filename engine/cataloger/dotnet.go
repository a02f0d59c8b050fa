package cataloger

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

func isDotnetDeps(p string) bool { return strings.HasSuffix(p, ".deps.json") }

// runtimePack begins the names of packs that hold the runtime itself; the rest
// is the name of the NuGet package.
const runtimePack = "runtimepack."

// readDotnetDeps reads the dependencies of a .NET program: libraries named
// "Name/1.2.3". The program itself and its projects are no packages.
// https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md
func readDotnetDeps(r io.Reader, out *Result) {
	defer out.close("dotnet-records")
	raw, _ := io.ReadAll(r)
	var document, libraries map[string]json.RawMessage
	err := json.Unmarshal(raw, &document)
	if err == nil && document["libraries"] != nil {
		err = json.Unmarshal(document["libraries"], &libraries)
	}
	if err != nil {
		out.gap(inventory.Partial, "dotnet-deps", fmt.Sprintf("the dependencies of a .NET program could not be read: %v", err))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(libraries)) {
		var library map[string]json.RawMessage
		if json.Unmarshal(libraries[key], &library) != nil {
			out.bad("a library is no object")
			continue
		}
		kind := strings.ToLower(text(library["type"]))
		if kind != "package" && kind != "runtimepack" {
			continue
		}
		name, version, _ := strings.Cut(key, "/")
		if name == "" || version == "" {
			out.bad("a library has no name or no version")
			continue
		}
		if !out.add(inventory.Package{Type: inventory.TypeNuget, Name: strings.TrimPrefix(name, runtimePack), Version: version}) {
			return
		}
	}
}
