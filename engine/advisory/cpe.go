package advisory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NVD is the ecosystem of what is known of a product by its CPE alone. The
// package of its records is the CPE without version.
const NVD = "NVD"

// cpeProducts are the products that are matched by CPE: programs that are found
// by the text of their version, and that no ecosystem has records about. Whatever
// a distribution or language packages has better records.
var cpeProducts = []string{
	"busybox:busybox", "dovecot:dovecot", "ffmpeg:ffmpeg", "gnu:bash", "gnu:gcc", "gnu:gnutls", "haxx:curl", "haxx:libcurl", "isc:bind",
	"libexpat_project:libexpat", "lighttpd:lighttpd", "nlnetlabs:unbound", "openbsd:openssh", "openssl:openssl", "perl:perl", "postfix:postfix",
	"proftpd:proftpd", "squid-cache:squid", "thekelleys:dnsmasq", "zlib:zlib",
}

const cpePrefix = "cpe:2.3:a:"

// CPEProduct gives the name under which records are about the product of a CPE;
// false when it is none of those that are matched by CPE.
func CPEProduct(cpe string) (name string, ok bool) {
	fields, isApplication := strings.CutPrefix(cpe, cpePrefix)
	parts := strings.SplitN(fields, ":", 3)
	if !isApplication || len(parts) < 3 || !slices.Contains(cpeProducts, parts[0]+":"+parts[1]) {
		return "", false
	}
	return cpePrefix + parts[0] + ":" + parts[1], true
}

// nvdProducts is the part of an entry of NVD's feeds that tells what is affected.
type nvdProducts struct {
	CVE struct {
		ID           string `json:"id"`
		Status       string `json:"vulnStatus"`
		Published    string `json:"published"`
		Modified     string `json:"lastModified"`
		Descriptions []struct {
			Lang  string `json:"lang"`
			Value string `json:"value"`
		} `json:"descriptions"`
		Configurations []nvdConfiguration `json:"configurations"`
	} `json:"cve"`
}

type nvdConfiguration struct {
	Operator string `json:"operator"` // AND: all nodes together
	Nodes    []struct {
		Matches []nvdMatch `json:"cpeMatch"`
	} `json:"nodes"`
}

type nvdMatch struct {
	Vulnerable     bool   `json:"vulnerable"`
	Criteria       string `json:"criteria"`
	StartIncluding string `json:"versionStartIncluding"`
	StartExcluding string `json:"versionStartExcluding"`
	EndIncluding   string `json:"versionEndIncluding"`
	EndExcluding   string `json:"versionEndExcluding"`
}

// FromNVDProducts reads which versions of the products that are matched by CPE an
// entry of the array "vulnerabilities" is about; none for nearly all entries.
// Errors wrap ErrBadRecord.
func FromNVDProducts(raw []byte) ([]Advisory, error) {
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(raw))
	}
	if !slices.ContainsFunc(cpeProducts, func(p string) bool { return bytes.Contains(raw, []byte(cpePrefix+p+":")) }) {
		return nil, nil // before anything is decoded: there are some 300,000 entries
	}
	var rec nvdProducts
	if err := json.Unmarshal(raw, &rec); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if !cveForm.MatchString(rec.CVE.ID) {
		return nil, fmt.Errorf("%w: CVE %.32q", ErrBadRecord, rec.CVE.ID)
	}
	if rec.CVE.Status == "Rejected" {
		return nil, nil
	}
	ranges := map[string][]Range{}
	for _, c := range rec.CVE.Configurations {
		if c.elsewhere() {
			continue
		}
		for _, n := range c.Nodes {
			for _, m := range n.Matches {
				if name, r, ok := m.affected(); ok {
					ranges[name] = append(ranges[name], r)
				}
			}
		}
	}
	var list []Advisory
	for _, product := range cpeProducts {
		if name := cpePrefix + product; len(ranges[name]) > 0 {
			list = append(list, Advisory{
				ID: rec.CVE.ID, Ecosystem: NVD, Package: name, Ranges: ranges[name], Summary: rec.summary(),
				URL: "https://nvd.nist.gov/vuln/detail/" + rec.CVE.ID, Published: nvdTime(rec.CVE.Published), Modified: nvdTime(rec.CVE.Modified),
			})
		}
	}
	return list, nil
}

// elsewhere reports whether a configuration is about systems alone that no
// image of Linux is.
func (c *nvdConfiguration) elsewhere() bool {
	if c.Operator != "AND" {
		return false
	}
	return slices.ContainsFunc(c.Nodes, func(n struct {
		Matches []nvdMatch `json:"cpeMatch"`
	}) bool {
		return len(n.Matches) > 0 && !slices.ContainsFunc(n.Matches, func(m nvdMatch) bool {
			return !strings.HasPrefix(m.Criteria, "cpe:2.3:o:microsoft:") && !strings.HasPrefix(m.Criteria, "cpe:2.3:o:apple:")
		})
	})
}

// affected gives the versions that a criterion names. One without a version ("-")
// names none; where a range begins after a version, that version is taken in.
func (m *nvdMatch) affected() (name string, r Range, ok bool) {
	name, known := CPEProduct(m.Criteria)
	fields := strings.Split(m.Criteria, ":")
	if !m.Vulnerable || !known || len(fields) < 13 || strings.Contains(m.Criteria, `\`) {
		return "", r, false
	}
	version, update, system := fields[5], fields[6], fields[10]
	if version == "-" || system != "*" && system != "-" && system != "linux" {
		return "", r, false
	}
	r.Type = "ECOSYSTEM"
	if version != "*" {
		exact := version + nvdUpdate(update)
		r.Events = []Event{{Introduced: exact}, {LastAffected: exact}}
		return name, r, len(exact) <= maxVersion
	}
	start := m.StartIncluding + m.StartExcluding
	if start == "" {
		start = "0"
	}
	r.Events = []Event{{Introduced: start}}
	switch {
	case m.EndExcluding != "":
		r.Events = append(r.Events, Event{Fixed: m.EndExcluding})
	case m.EndIncluding != "":
		r.Events = append(r.Events, Event{LastAffected: m.EndIncluding})
	}
	return name, r, len(start)+len(m.EndExcluding)+len(m.EndIncluding) <= maxVersion
}

// nvdUpdate is how programs write the update of a version: "p1" of OpenSSH behind
// it, "alpha1" of OpenSSL after a hyphen.
func nvdUpdate(update string) string {
	switch {
	case update == "*" || update == "-":
		return ""
	case strings.HasPrefix(update, "alpha") || strings.HasPrefix(update, "beta") || strings.HasPrefix(update, "pre") || strings.HasPrefix(update, "rc"):
		return "-" + update
	}
	return update
}

func (rec *nvdProducts) summary() string {
	for _, d := range rec.CVE.Descriptions {
		if d.Lang == "en" {
			return line(d.Value)
		}
	}
	return ""
}

// nvdTime reads NVD's times, which have no zone and are UTC.
func nvdTime(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return seconds(t)
}
