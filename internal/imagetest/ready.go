package imagetest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Apk is a package of an Alpine database.
type Apk struct{ Name, Version, Origin string }

// The library that the ready images have: VulnerableSSL has CVE-2025-15467 in
// Alpine 3.20, GoodSSL has not.
var (
	VulnerableSSL = Apk{"libcrypto3", "3.3.2-r0", "openssl"}
	GoodSSL       = Apk{"libcrypto3", "3.3.7-r0", "openssl"}
)

// AlpineRelease is the os-release of Alpine 3.20.3.
const AlpineRelease = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n"

// DebianRelease is the os-release of Debian 12.
const DebianRelease = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"

// ApkDatabase is lib/apk/db/installed with these packages.
func ApkDatabase(packages ...Apk) Content {
	var b strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&b, "P:%s\nV:%s\nA:x86_64\nL:MIT\no:%s\n\n", p.Name, p.Version, p.Origin)
	}
	return File("lib/apk/db/installed", b.String())
}

// Alpine is the root of an Alpine 3.20 with these packages and more entries.
func Alpine(packages []Apk, more ...Content) []Content {
	return append([]Content{
		Dir("etc"), File("etc/os-release", AlpineRelease), Dir("lib"), Dir("lib/apk"), Dir("lib/apk/db"), ApkDatabase(packages...),
	}, more...)
}

// Npm is an installed npm package.
func Npm(dir, name, version string) Content {
	body, err := json.Marshal(map[string]string{"name": name, "version": version, "license": "MIT"})
	must(err)
	return File(dir+"/node_modules/"+name+"/package.json", string(body))
}

// Clean is an Alpine image of which no vulnerability is known.
func Clean() Image { return Build(Gzip(Alpine([]Apk{GoodSSL})...)) }

// Vulnerable is an Alpine image with VulnerableSSL.
func Vulnerable() Image { return Build(Gzip(Alpine([]Apk{VulnerableSSL})...)) }

// Node is a clean Alpine image with an upper layer that brings lodash 4.17.15,
// which has GHSA-35jh-r3h4-6jhm.
func Node() Image {
	return Build(Gzip(Alpine([]Apk{GoodSSL})...), Gzip(Dir("app"), Dir("app/node_modules"), Npm("app", "lodash", "4.17.15")))
}
