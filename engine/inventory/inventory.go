// Package inventory holds what is in an image: packages, the report of one
// layer, and the squash of the reports of all layers into one inventory.
//
// It knows no vulnerability, policy, registry or server. Start with Report
// (what one layer says) and Squash (what the image holds once every layer has
// been applied).
package inventory

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
)

// EngineVersion names the rules by which layers are read. It is part of the
// key of every stored Report and rises when a cataloger or the squash learns
// something new, so that old reports are renewed. Greater is newer.
const EngineVersion = 3

// Maker is who made a report or an inventory: the rules, and the configuration
// that says what is gathered. What another maker made is made anew.
type Maker struct {
	Engine  int
	Gathers string // a hash of what is gathered; see engine/layer
}

// Package types, with the names that Anchore policies and purls share.
const (
	TypeDeb     = "deb"
	TypeApk     = "apk"
	TypeRPM     = "rpm"
	TypeOpkg    = "opkg"
	TypePacman  = "alpm"
	TypePortage = "ebuild"
	TypeNix     = "nix"

	TypeGo       = "go"
	TypeNpm      = "npm"
	TypePython   = "python"
	TypeJava     = "java" // named "group:artifact"
	TypeGem      = "gem"
	TypeCargo    = "cargo"
	TypeComposer = "composer"
	TypeNuget    = "nuget"
	TypeBinary   = "binary" // a program known by its version string alone
	TypeConan    = "conan"
	TypeCran     = "cran"
	TypeHackage  = "hackage"
	TypeHex      = "hex"
	TypeJulia    = "julia"
	TypePub      = "pub"
	TypeSwift    = "swift"
)

// systemTypes are those of package managers of distributions.
var systemTypes = []string{TypeDeb, TypeApk, TypeRPM, TypeOpkg, TypePacman, TypePortage, TypeNix}

// IsSystem reports whether packages of a type are installed by the
// distribution's package manager.
func IsSystem(typ string) bool { return slices.Contains(systemTypes, typ) }

// What a Package's Evidence may be, beside "" for what is installed.
const (
	// EvidenceLock: a lock file names it; whether it is installed is not known.
	EvidenceLock = "lockfile"
	// EvidenceName: a file's name alone tells the version.
	EvidenceName = "filename"
	// EvidenceText: the version was found as text in the program.
	EvidenceText = "version-string"
)

// Package is one installed package, found at one place.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"` // as the package's own metadata spell it ("go1.21.0", "v0.7.0", "1:2.3-4")
	Type    string `json:"type"`    // one of the Type constants
	Arch    string `json:"arch,omitempty"`
	// Source is the name of the source package (Debian) or origin (Alpine);
	// equal to Name where the metadata name none.
	Source        string `json:"source,omitempty"`
	SourceVersion string `json:"source_version,omitempty"`
	PURL          string `json:"purl,omitempty"` // set by Squash, when the distribution is known
	// Location is the path of the file that told of the package: the database
	// for a system package, the manifest or program for a language package.
	// Slash-separated, relative to the root, no leading slash.
	Location string `json:"location"`
	// Inner is the place within the archive at Location, for what is in one:
	// "WEB-INF/lib/a.jar!/META-INF/maven/g/a/pom.properties".
	Inner   string `json:"inner,omitempty"`
	License string `json:"license,omitempty"` // as the metadata spell it
	// Module is the module stream of an rpm package, "nodejs:18"; "" for one
	// that belongs to none.
	Module string `json:"module,omitempty"`
	// Vendor is who built an rpm package, as its header says.
	Vendor string `json:"vendor,omitempty"`
	// Evidence tells how the package is known; "" for what is installed.
	Evidence string `json:"evidence,omitempty"`
	// CPE names the product, for what no ecosystem has advisories about
	// (CPE 2.3 formatted string).
	CPE string `json:"cpe,omitempty"`
	// OwnedBy names the system package whose database lists the file at
	// Location; empty when none does. Set by Squash.
	OwnedBy string `json:"owned_by,omitempty"`
	Layer   int    `json:"layer"` // index of the layer it came with; set by Squash
}

// Owned is a claim of a system package database: Package installed Path. A
// report keeps only the paths that could be those of a language package.
type Owned struct {
	Package  string `json:"package"`
	Path     string `json:"path"`
	Database string `json:"database"` // path of the file that makes the claim
}

// GapKind tells how much a gap hides.
type GapKind string

const (
	// Blind: a layer, a package database, or packages that no data cover. The
	// image cannot be called analysed.
	Blind GapKind = "blind"
	// Partial: one file or one record. The rest was read.
	Partial GapKind = "partial"
)

// Gap is something that could not be read, parsed or compared. It is a result,
// never only a log line.
type Gap struct {
	Kind GapKind `json:"kind"`
	// Code is for machines, short and stable: "rpm-database", "layer-truncated".
	Code string `json:"code"`
	// Path is the file in the image, if the gap is about one.
	Path string `json:"path,omitempty"`
	// Layer is the index of the layer; -1 when the gap is about the whole image.
	Layer  int    `json:"layer"`
	Detail string `json:"detail"` // one sentence for a person; control characters are escaped
}

// OSRelease is the content of an os-release file, or of one of the older files
// that name a distribution.
type OSRelease struct {
	Path       string `json:"path"`
	ID         string `json:"id"` // "debian", "alpine"
	IDLike     string `json:"id_like,omitempty"`
	VersionID  string `json:"version_id"` // "12", "3.20.3"; empty for rolling releases
	Codename   string `json:"codename,omitempty"`
	PrettyName string `json:"pretty_name,omitempty"`
}

// Report is all that was learnt from one layer. It is immutable and does not
// depend on the layers around it: the distribution is bound by Squash.
type Report struct {
	Engine int `json:"engine"`
	// Gathers names the configuration by which the layer was read.
	Gathers string        `json:"gathers"`
	Digest  digest.Digest `json:"digest"`  // of the bytes as they were stored (compressed)
	DiffID  digest.Digest `json:"diff_id"` // of the uncompressed tar; empty when the stream could not be read to its end
	Size    int64         `json:"size"`    // bytes as stored
	Tar     int64         `json:"tar"`     // bytes uncompressed
	// Format is what the bytes are, found by content: "tar", "tar+gzip",
	// "tar+zstd", "json" (a document, no layer), "empty" or "other".
	Format   string    `json:"format"`
	Entries  Entries   `json:"entries"`
	Packages []Package `json:"packages"`
	// Databases are the package databases that were read, with or without
	// packages in them: a database that lists nothing still hides the one below.
	Databases []Database     `json:"databases"`
	Owned     []Owned        `json:"owned,omitempty"`
	Releases  []OSRelease    `json:"releases,omitempty"`
	Secrets   []Secret       `json:"secrets,omitempty"`
	Licenses  []LicenseFile  `json:"licenses,omitempty"`
	Accounts  []Account      `json:"accounts,omitempty"`
	Groups    []Group        `json:"groups,omitempty"`
	Sudoers   []Sudoer       `json:"sudoers,omitempty"`
	Retrieved []Retrieved    `json:"retrieved,omitempty"`
	Contents  []ContentMatch `json:"contents,omitempty"`
	Malware   []Malware      `json:"malware,omitempty"`
	Gaps      []Gap          `json:"gaps,omitempty"`
	Took      time.Duration  `json:"took"`
}

// Database is a package database at a path: read, or known and not understood.
type Database struct {
	Path string `json:"path"`
	Type string `json:"type"` // a Type constant, or "rpm", "pacman", ... for those not understood
}

// Distro is the distribution of an image, bound at squash.
type Distro struct {
	ID        string `json:"id"`
	VersionID string `json:"version_id"`
	Name      string `json:"name"` // pretty name
	// Ecosystem is OSV's name with its release suffix ("Debian:12",
	// "Alpine:v3.20"); empty when the distribution is not known to OSV.
	Ecosystem string `json:"ecosystem"`
	// Also names further ecosystems whose records are about this release: the
	// repositories of Red Hat's, the modules of SUSE's.
	Also []string `json:"also,omitempty"`
}

// Platform is an OCI platform.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// String gives "linux/arm64/v8".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Image is the inventory of one image: one platform, all layers applied.
type Image struct {
	Engine   int           `json:"engine"`
	Gathers  string        `json:"gathers"`
	Manifest digest.Digest `json:"manifest"` // sha256 of the manifest's bytes
	Config   digest.Digest `json:"config"`   // the image id
	Platform Platform      `json:"platform"`
	Distro   Distro        `json:"distro"`
	Packages []Package     `json:"packages"`
	// Locked is what lock files name and nothing shows to be installed.
	Locked []Package `json:"locked,omitempty"`
	Gaps   []Gap     `json:"gaps"`
	Size   int64     `json:"size"` // sum of the layers as stored
	// Runtime is what the configuration asks of a runtime; nil when that is not
	// known, which policies tell from "nothing".
	Runtime *image.Runtime  `json:"runtime,omitempty"`
	Layers  []digest.Digest `json:"layers"`
	// Instructions are those that made the layers, one for each, as the history
	// tells; "" where it does not.
	Instructions []string `json:"instructions,omitempty"`

	Secrets   []Secret           `json:"secrets,omitempty"`
	Misconfig []Misconfiguration `json:"misconfigurations,omitempty"`
	Marked    []MarkedFile       `json:"marked_files,omitempty"`
	Licenses  []LicenseFile      `json:"licenses,omitempty"`
	Accounts  []Account          `json:"accounts,omitempty"`
	Groups    []Group            `json:"groups,omitempty"`
	Sudoers   []Sudoer           `json:"sudoers,omitempty"`
	Retrieved []Retrieved        `json:"retrieved,omitempty"`
	Contents  []ContentMatch     `json:"contents,omitempty"`
	Malware   []Malware          `json:"malware,omitempty"`
}

// Place is where the package was found, with the place within an archive.
func (p *Package) Place() string {
	if p.Inner == "" {
		return p.Location
	}
	return p.Location + "!/" + p.Inner
}

// Blind returns the gaps that forbid calling the image analysed.
func (im *Image) Blind() []Gap {
	var blind []Gap
	for _, g := range im.Gaps {
		if g.Kind == Blind {
			blind = append(blind, g)
		}
	}
	return blind
}
