package advisory

import (
	"regexp"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/pratique/pratique/engine/pkgver"
)

// Suffixes of names under which statements of CSAF documents are indexed that
// are about the other kind of package than the distribution's errata: about
// source packages of Red Hat, binary packages of SUSE. The errata of one kind
// must not be met by the name of the other, whose versions differ.
const (
	SourceSuffix = ".src"
	BinarySuffix = ".rpm"
)

// csafComponent is a package of a release, as a document names it.
type csafComponent struct {
	ecosystem string
	name      string
	version   string // "" when all versions are meant
	module    string // rpm module stream, "nodejs:18"
	// source and binary: of which kind the name may be; both where a document
	// does not tell.
	source bool
	binary bool
}

// subjects are the names under which a statement is indexed. Fixes are told of
// binary packages, and that of the source package repeats them. What does not
// affect one build says nothing of others.
func (c csafComponent) subjects(class csafClass) []csafSubject {
	if class == csafClear && c.version != "" || class == csafFixed && !c.binary {
		return nil
	}
	binary, source := c.name, c.name+SourceSuffix
	if pkgver.Base(c.ecosystem) != "Red Hat" {
		binary, source = c.name+BinarySuffix, c.name
	}
	var list []csafSubject
	if c.binary {
		list = append(list, csafSubject{c.ecosystem, binary, c.module})
	}
	if c.source && class != csafFixed {
		list = append(list, csafSubject{c.ecosystem, source, c.module})
	}
	return list
}

// suseForm are SUSE's names of releases whose images are compared.
var suseForm = regexp.MustCompile(`^SUSE (Linux Enterprise (?:Server|Desktop|Server for SAP Applications|Module for [A-Za-z0-9 ]+) \d+(?: SP\d+)?)$`)

// csafEcosystem tells which release a platform is. Red Hat's are told by their
// CPE, whatever repository of the release it names: one image has them all. SUSE
// gives one CPE to products that differ, so the name counts.
func csafEcosystem(p *csafProduct) (ecosystem string, known csafKnowledge) {
	if p == nil {
		return "", csafUnclear
	}
	if m := suseForm.FindStringSubmatch(p.Name); m != nil {
		return "SUSE:" + m[1], csafKnown
	}
	if release, ok := strings.CutPrefix(p.Name, "openSUSE "); ok && (release == "Tumbleweed" || strings.HasPrefix(release, "Leap ")) {
		return "openSUSE:" + release, csafKnown
	}
	if p.Helper.CPE == "" && p.Helper.PURL == "" {
		return "", csafUnclear
	}
	vendor, product, version := cpeFields(p.Helper.CPE)
	if vendor != "redhat" || product != "enterprise_linux" {
		return "", csafOutside
	}
	major, _, _ := strings.Cut(version, ".")
	if major == "" || strings.Trim(major, "0123456789") != "" {
		return "", csafUnclear
	}
	return "Red Hat:enterprise_linux:" + major, csafKnown
}

// cpeFields splits a CPE of either form: "cpe:/o:redhat:enterprise_linux:9" or
// "cpe:2.3:o:redhat:enterprise_linux:9:*:...".
func cpeFields(cpe string) (vendor, product, version string) {
	fields := strings.Split(strings.TrimPrefix(strings.TrimPrefix(cpe, "cpe:/"), "cpe:2.3:"), ":")
	if len(fields) < 4 {
		return "", "", ""
	}
	return fields[1], fields[2], fields[3]
}

var (
	// nevraForm is Red Hat's id of a build: "telnet-1:0.17-65.el7_6.x86_64".
	nevraForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._+-]*)-(\d+):([^-:]+-[^-:]+)\.([a-z0-9_]+)$`)
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	// streamForm is a module and its stream, before its version and context.
	streamForm = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9+_.-]*:[A-Za-z0-9][A-Za-z0-9+_.-]*`)
)

// name reads the component of an id: by its package URL, else by the id itself.
// module is the id of the product between component and platform, if any.
func (p *csafProducts) name(component, ecosystem, module string) (csafComponent, csafKnowledge) {
	c := csafComponent{ecosystem: ecosystem}
	product := p.products[component]
	if product == nil {
		return c, csafUnclear
	}
	if module != "" && !p.module(&c, module) {
		return c, csafUnclear
	}
	reference := component
	if stream, name, ok := strings.Cut(reference, "/"); ok && streamForm.FindString(stream) == stream {
		c.module, reference = stream, name // "nodejs:16/nodejs"
	}
	if product.Helper.PURL == "" {
		return c, c.byReference(reference)
	}
	purl, err := packageurl.FromString(product.Helper.PURL)
	if err != nil {
		return c, csafUnclear
	}
	switch {
	case purl.Type == "rpmmod" && c.module != "" && reference != component:
		return c, c.byReference(reference)
	case purl.Type != packageurl.TypeRPM:
		return c, csafOutside
	}
	return c, c.byPURL(purl, reference)
}

// module takes the stream from the product that stands for a module: by its
// package URL, "pkg:rpmmod/redhat/nodejs@18:8090...", or its id.
func (p *csafProducts) module(c *csafComponent, id string) bool {
	text := id
	if product := p.products[id]; product != nil && product.Helper.PURL != "" {
		purl, err := packageurl.FromString(product.Helper.PURL)
		if err != nil {
			return false
		}
		if text = purl.Name; purl.Version != "" {
			text += ":" + purl.Version
		}
	}
	c.module = streamForm.FindString(text)
	return c.module != ""
}

func (c *csafComponent) byPURL(purl packageurl.PackageURL, reference string) csafKnowledge {
	qualifiers := purl.Qualifiers.Map()
	if stream, ok := qualifiers["rpmmod"]; ok {
		if c.module = streamForm.FindString(stream); c.module == "" {
			return csafUnclear
		}
	}
	c.name, c.version = purl.Name, purl.Version
	if epoch := qualifiers["epoch"]; epoch != "" && c.version != "" {
		c.version = epoch + ":" + c.version
	}
	switch {
	case qualifiers["arch"] == "src":
		c.source = true
	case purl.Namespace != "redhat" && qualifiers["upstream"] == "" && reference == purl.Name+"-"+purl.Version:
		// SUSE's URLs of names without version take the end of the name for one:
		// "pkg:rpm/suse/libfoo@4_0-18" of "libfoo-4_0-18".
		if _, err := pkgver.Parse(c.ecosystem, c.version); err != nil || !strings.Contains(c.version, ".") {
			c.name, c.version = reference, ""
		}
		c.binary, c.source = true, c.version == ""
	case purl.Namespace != "redhat" && c.version == "":
		c.name = strings.TrimSuffix(reference, "-")
		c.binary, c.source = true, true // SUSE names source packages among binary ones
	default:
		c.binary = true
	}
	return c.check()
}

func (c *csafComponent) byReference(reference string) csafKnowledge {
	if m := nevraForm.FindStringSubmatch(reference); m != nil {
		c.name, c.version = m[1], m[2]+":"+m[3]
		c.source = m[4] == "src"
		c.binary = !c.source
		return c.check()
	}
	c.name, c.source = strings.CutSuffix(reference, ".src")
	c.binary = !c.source
	if c.binary {
		c.source = true // older documents name the source package, newer ones both
	}
	return c.check()
}

// check refuses what could not be looked up or compared.
func (c *csafComponent) check() csafKnowledge {
	if !nameForm.MatchString(c.name) || (Key{c.ecosystem, c.name}).check() != nil || len(c.version) > maxVersion {
		return csafUnclear
	}
	if c.version != "" {
		if _, err := pkgver.Parse(c.ecosystem, c.version); err != nil {
			return csafUnclear
		}
	}
	return csafKnown
}
