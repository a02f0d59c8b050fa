package advisory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// SecDB is a file of Alpine's security database, or of one in its form (Wolfi,
// Chainguard). https://secdb.alpinelinux.org/
type SecDB struct {
	APKURL        string `json:"apkurl"`
	URLPrefix     string `json:"urlprefix"`
	DistroVersion string `json:"distroversion"`
	Packages      []struct {
		Pkg struct {
			Name     string              `json:"name"`
			SecFixes map[string][]string `json:"secfixes"`
		} `json:"pkg"`
	} `json:"packages"`
}

// Bounds of one file.
const (
	maxSecDBPackages = 100_000
	maxSecDBFixes    = 20_000 // of one package
)

// FromSecDB reads a file: one Advisory for each package and name of a flaw. A
// flaw under the version "0" does not concern the package. Errors wrap
// ErrBadRecord.
func FromSecDB(raw []byte) (advisories []Advisory, skipped int, err error) {
	var db SecDB
	if err := json.Unmarshal(raw, &db); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	ecosystem := db.ecosystem()
	if ecosystem == "" || len(db.Packages) > maxSecDBPackages {
		return nil, 0, fmt.Errorf("%w: a security database of no known distribution (version %.32q), or of %d packages", ErrBadRecord, db.DistroVersion, len(db.Packages))
	}
	for _, p := range db.Packages {
		if (Key{ecosystem, p.Pkg.Name}).check() != nil || len(p.Pkg.SecFixes) > maxSecDBFixes {
			skipped++
			continue
		}
		for version, names := range p.Pkg.SecFixes {
			if version == "" || len(version) > maxVersion {
				skipped++
				continue
			}
			for _, text := range names {
				a, ok := secFix(text, version)
				if !ok {
					skipped++
					continue
				}
				a.Ecosystem, a.Package = ecosystem, p.Pkg.Name
				advisories = append(advisories, a)
			}
		}
	}
	return advisories, skipped, nil
}

// ecosystem tells whose database it is.
func (db *SecDB) ecosystem() string {
	switch where := db.URLPrefix + db.APKURL; {
	case strings.Contains(where, "wolfi"):
		return "Wolfi"
	case strings.Contains(where, "chainguard") || strings.Contains(where, "cgr.dev"):
		return "Chainguard"
	case db.DistroVersion == "edge" || strings.HasPrefix(db.DistroVersion, "v"):
		return "Alpine:" + db.DistroVersion
	}
	return ""
}

// secFix reads an entry: the names of one flaw, "CVE-2021-1 XSA-1", the first of
// which is its id.
func secFix(text, version string) (Advisory, bool) {
	names := strings.Fields(text)
	if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return !plain(n, maxID) }) {
		return Advisory{}, false
	}
	a := Advisory{ID: names[0], Aliases: names[1:], URL: "https://security.alpinelinux.org/vuln/" + names[0]}
	events := []Event{{Introduced: "0"}}
	if version == "0" {
		a.Status = StatusNotAffected
	} else {
		events = append(events, Event{Fixed: version})
	}
	a.Ranges = []Range{{Type: "ECOSYSTEM", Events: events}}
	return a, true
}
