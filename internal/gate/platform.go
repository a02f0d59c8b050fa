package gate

import (
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// aliases are other names of what images call themselves. Runtimes take them for
// the same, so an index that uses them hides nothing.
var aliases = map[string]string{
	"macos": "darwin", "i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm/v7", "armel": "arm/v6",
}

// basic are variants that every machine of an architecture has.
var basic = []string{"amd64/v1", "arm64/v8", "arm64/8"}

// instead are architectures that runtimes take where an index does not have the
// machine's own.
var instead = map[string]string{"amd64": "386", "arm64": "arm"}

// canonical spells a platform as runtimes compare it; "" stays.
func canonical(platform string) string {
	parts := strings.Split(strings.ToLower(platform), "/")
	for i, p := range parts {
		if name, ok := aliases[p]; ok && i < 2 {
			parts[i] = name
		}
	}
	name := strings.Join(parts, "/")
	for _, b := range basic {
		if os, ok := strings.CutSuffix(name, "/"+b); ok {
			architecture, _, _ := strings.Cut(b, "/")
			return os + "/" + architecture
		}
	}
	if os, digit, ok := strings.Cut(name, "/arm/"); ok && len(digit) == 1 {
		return os + "/arm/v" + digit
	}
	return name
}

// childOf reads an entry of an index.
func childOf(d image.Descriptor) childFact {
	c := childFact{Digest: d.Digest, Platform: claimed(d)}
	if p := d.Platform; p != nil {
		c.Picky = p.OSVersion != "" || len(p.OSFeatures) > 0
		if p.OS == "" || p.Architecture == "" {
			c.Platform = ""
		}
	}
	return c
}

// running are the entries of an index that may run on machines of the platforms;
// for none, all but attestations. One without a platform may.
func running(children []childFact, platforms []string) []childFact {
	var wanted []string
	for _, p := range platforms {
		p = canonical(p)
		wanted = append(wanted, p)
		if !slices.ContainsFunc(children, func(c childFact) bool { return !c.Picky && suits(canonical(c.Platform), p) }) {
			wanted = append(wanted, substitutes(p)...)
		}
	}
	var found []childFact
	for _, c := range children {
		if counts(canonical(c.Platform), wanted) {
			found = append(found, c)
		}
	}
	return found
}

// suits reports whether an image certainly runs on a machine, so that nothing is
// taken in its place: it demands no variant, or the one that is asked for.
func suits(platform, machine string) bool {
	return platform == machine || strings.Count(platform, "/") == 1 && strings.HasPrefix(machine, platform+"/")
}

// substitutes are what a machine takes where there is nothing that suits it: its
// architecture in another variant, or one that it runs too.
func substitutes(machine string) []string {
	parts := strings.Split(machine, "/")
	if len(parts) < 2 {
		return nil
	}
	all := []string{parts[0] + "/" + parts[1]}
	if other, ok := instead[parts[1]]; ok {
		all = append(all, parts[0]+"/"+other)
	}
	return all
}

// counts tells whether a child of an index is for one of the platforms. Where one
// side names no variant ("linux/arm64", "linux/arm64/v9"), any will do.
func counts(platform string, platforms []string) bool {
	if platform == "unknown/unknown" { // an attestation, as BuildKit marks it
		return false
	}
	return platform == "" || len(platforms) == 0 || slices.ContainsFunc(platforms, func(wanted string) bool {
		return platform == wanted || strings.HasPrefix(platform, wanted+"/") || strings.HasPrefix(wanted, platform+"/")
	})
}
