package pkgver

import "regexp"

// rules are what is checked and changed before the library sees a version.
type rules struct {
	// form is what a version must look like. The library is lenient: it gives
	// an order to any text, and a wrong order lets a vulnerable package pass.
	form *regexp.Regexp
	// respell changes spellings that the library would misorder; may be nil.
	respell func(string) string
	// as names an ecosystem of the same order, for one that the library does not
	// know by its own name.
	as string
}

var (
	// https://semver.org, with one or two numbers tolerated ("1.2"), a leading
	// "v", and a pre-release without its hyphen ("1.2.3rc1"). Four numbers are
	// refused: the library would take the fourth for a pre-release.
	semverForm = regexp.MustCompile(`^v?\d+(\.\d+){0,2}([-+A-Za-z][0-9A-Za-z.+_~-]*)?$`)
	// deb-version(7).
	debianForm = regexp.MustCompile(`^(\d+:[0-9A-Za-z.+~:-]+|[0-9A-Za-z.+~-]+)$`)
	// apk-package(5): digits, letter, suffixes, commit hash, revision.
	alpineForm = regexp.MustCompile(`^\d+(\.\d+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*(~[0-9a-f]+)?(-r\d+)?$`)
	// PEP 440, appendix B. Older free-form versions are refused: below which
	// release they belong nobody knows.
	pypiForm = regexp.MustCompile(`(?i)^v?(\d+!)?\d+(\.\d+)*` +
		`([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?` +
		`(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?` +
		`([-_.]?dev[-_.]?\d*)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?$`)
	// rpm-version(7): [epoch:]version[-release]. Modular packages of some
	// distributions carry further colons.
	rpmForm = regexp.MustCompile(`^[0-9A-Za-z._+~^:-]+$`)
	// Ecosystems whose own tools order any word.
	anyForm = regexp.MustCompile(`^[!-~]+$`)
)

// ecosystems names every ecosystem with a version order by OSV's name.
// https://ossf.github.io/osv-schema/#defined-ecosystems
var ecosystems = map[string]rules{
	"AlmaLinux":   {form: rpmForm},
	"Azure Linux": {form: rpmForm, as: "Red Hat"},
	"Mageia":      {form: rpmForm},
	"openEuler":   {form: rpmForm},
	"openSUSE":    {form: rpmForm},
	"Photon OS":   {form: rpmForm, as: "Red Hat"},
	"Red Hat":     {form: rpmForm},
	"Rocky Linux": {form: rpmForm},
	"SUSE":        {form: rpmForm},

	"Alpaquita":                    {form: alpineForm, respell: respellAlpine},
	"Alpine":                       {form: alpineForm, respell: respellAlpine},
	"BellSoft Hardened Containers": {form: alpineForm, respell: respellAlpine},
	"Chainguard":                   {form: alpineForm, respell: respellAlpine},
	"MinimOS":                      {form: alpineForm, respell: respellAlpine},
	"Wolfi":                        {form: alpineForm, respell: respellAlpine},

	"Debian": {form: debianForm},
	"Ubuntu": {form: debianForm},

	"Bitnami":     {form: semverForm},
	"ConanCenter": {form: semverForm},
	"crates.io":   {form: semverForm},
	"Go":          {form: semverForm, respell: respellGo},
	"Hex":         {form: semverForm},
	"Julia":       {form: semverForm},
	"npm":         {form: semverForm, respell: respellNpm},
	"SwiftURL":    {form: semverForm},

	// Products by their CPE, whose versions have no order of their own: numbers
	// and letters, as rpm compares them.
	"NVD": {form: rpmForm, respell: respellCPE, as: "Red Hat"},

	"CRAN":      {form: anyForm},
	"Hackage":   {form: anyForm},
	"Maven":     {form: anyForm},
	"NuGet":     {form: anyForm},
	"Packagist": {form: anyForm},
	"Pub":       {form: anyForm},
	"PyPI":      {form: pypiForm},
	"RubyGems":  {form: anyForm},
}
