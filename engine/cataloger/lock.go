package cataloger

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// lockFormat is how a lock file is read, and what its packages are.
type lockFormat struct {
	kind string // a Type constant of inventory
	read func(raw []byte, l *lock) error
}

// lockFormats names the lock files that are read, by base name.
var lockFormats = map[string]lockFormat{
	"package-lock.json":           {inventory.TypeNpm, readNpmLock},
	"npm-shrinkwrap.json":         {inventory.TypeNpm, readNpmLock},
	"yarn.lock":                   {inventory.TypeNpm, readYarnLock},
	"pnpm-lock.yaml":              {inventory.TypeNpm, readPnpmLock},
	"bun.lock":                    {inventory.TypeNpm, readBunLock},
	"Pipfile.lock":                {inventory.TypePython, readPipfileLock},
	"poetry.lock":                 {inventory.TypePython, readTomlLock},
	"uv.lock":                     {inventory.TypePython, readTomlLock},
	"pdm.lock":                    {inventory.TypePython, readTomlLock},
	"pylock.toml":                 {inventory.TypePython, readTomlLock},
	"requirements.txt":            {inventory.TypePython, readRequirements},
	"Gemfile.lock":                {inventory.TypeGem, readGemfileLock},
	"gems.locked":                 {inventory.TypeGem, readGemfileLock},
	"composer.lock":               {inventory.TypeComposer, readComposerLock},
	"Cargo.lock":                  {inventory.TypeCargo, readCargoLock},
	"packages.lock.json":          {inventory.TypeNuget, readNugetLock},
	"gradle.lockfile":             {inventory.TypeJava, readGradleLock},
	"buildscript-gradle.lockfile": {inventory.TypeJava, readGradleLock},
	"mix.lock":                    {inventory.TypeHex, readMixLock},
	"pubspec.lock":                {inventory.TypePub, readPubspecLock},
	"Package.resolved":            {inventory.TypeSwift, readSwiftResolved},
	"conan.lock":                  {inventory.TypeConan, readConanLock},
	"renv.lock":                   {inventory.TypeCran, readRenvLock},
	"Manifest.toml":               {inventory.TypeJulia, readJuliaManifest},
	"stack.yaml.lock":             {inventory.TypeHackage, readStackLock},
	"cabal.project.freeze":        {inventory.TypeHackage, readCabalFreeze},
}

var lockNames = func() []string {
	names := slices.Sorted(maps.Keys(lockFormats))
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	return names
}()

// isLock leaves out the lock files that packages of node_modules carry from
// their own development: nobody installs by them.
func isLock(p string) bool {
	_, ok := lockFormats[path.Base(p)]
	return ok && !isUnder(p, "node_modules")
}

// lock takes what a lock file names, each version of a package once.
type lock struct {
	out  *Result
	kind string
	seen map[[2]string]bool
	full bool
}

// readLock lists what a lock file names, as a hint.
func readLock(r io.Reader, out *Result) {
	defer out.close("lock-records")
	base := path.Base(out.Path)
	format, ok := lockFormats[base]
	if !ok {
		return
	}
	raw, _ := io.ReadAll(r)
	if err := format.read(raw, &lock{out: out, kind: format.kind, seen: map[[2]string]bool{}}); err != nil {
		out.gap(inventory.Partial, "lock-file", fmt.Sprintf("%s could not be read: %v", base, err))
	}
}

// add takes a package of the lock file.
func (l *lock) add(name, version string) {
	key := [2]string{name, version}
	switch {
	case name == "" || version == "":
		l.out.bad("an entry has no name or no version")
	case l.full || l.seen[key]:
	default:
		l.seen[key] = true
		l.full = !l.out.add(inventory.Package{Type: l.kind, Name: name, Version: version, Evidence: inventory.EvidenceLock})
	}
}
