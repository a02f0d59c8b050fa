package inventory

import "strings"

// Secret is something that looks like a credential. The credential itself is
// kept nowhere.
type Secret struct {
	Rule        string `json:"rule"` // id of the rule: "aws-access-token", "private-key"
	Kind        string `json:"kind"` // what kind of credential it is, over all rules
	Description string `json:"description"`
	// Where is "file", "config.Env", "config.Labels" or "history".
	Where string `json:"where"`
	Path  string `json:"path,omitempty"` // of the file
	Name  string `json:"name,omitempty"` // of the variable or label
	Line  int    `json:"line,omitempty"` // in the file, from 1
	Index int    `json:"index,omitempty"`
	// Redacted is a few first characters.
	Redacted    string  `json:"redacted"`
	Fingerprint string  `json:"fingerprint"` // tells two secrets apart
	Entropy     float64 `json:"entropy,omitempty"`
	Confidence  string  `json:"confidence"` // "high" or "low"
	// Layer is the index of the layer; -1 for the configuration. Set by Squash.
	Layer int `json:"layer"`
	// Deleted: no longer in the image's file system, but still in its layer. Set
	// by Squash.
	Deleted bool `json:"deleted,omitempty"`
}

// Misconfiguration is a setting that weakens an image.
type Misconfiguration struct {
	Rule     string `json:"rule"`             // "root-user", "setuid-file"
	Severity string `json:"severity"`         // low, medium, high, critical
	Message  string `json:"message"`          // one sentence for a person
	Path     string `json:"path,omitempty"`   // in the image
	Detail   string `json:"detail,omitempty"` // the mode, the capability, the instruction
	Layer    int    `json:"layer"`            // index; -1: the configuration
}

// LicenseFile is a file that is, or holds, the text of a licence.
type LicenseFile struct {
	Path string `json:"path"`
	// Expression is SPDX; "" when the text is of no licence that is known.
	Expression string  `json:"expression,omitempty"`
	Coverage   float64 `json:"coverage,omitempty"` // share of the text that was recognised, 0 to 1
}

// Account is one line of /etc/passwd with what /etc/shadow says of it.
type Account struct {
	Path  string `json:"path"` // of the file
	Name  string `json:"name"`
	UID   string `json:"uid,omitempty"` // as written
	GID   string `json:"gid,omitempty"`
	Gecos string `json:"gecos,omitempty"`
	Home  string `json:"home,omitempty"`
	Shell string `json:"shell,omitempty"`
	// Password is what stands in the password field: "empty", "locked", "set"
	// (a hash), or "shadow".
	Password string `json:"password"`
}

// Group is one line of /etc/group.
type Group struct {
	Path    string   `json:"path"`
	Name    string   `json:"name"`
	GID     string   `json:"gid"`
	Members []string `json:"members,omitempty"`
}

// Sudoer is one line of a sudoers file that lets somebody do something without
// a password.
type Sudoer struct {
	Path string `json:"path"`
	Line string `json:"line"`
}

// Retrieved is a file whose content was asked for.
type Retrieved struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
	Cut     bool   `json:"cut,omitempty"` // the file is longer
}

// ContentMatch tells that a file has what a configured expression looks for.
type ContentMatch struct {
	Path       string `json:"path"`
	Expression string `json:"expression"` // its name
	Line       int    `json:"line"`       // of the first match
}

// Malware is what a virus scanner said of a file.
type Malware struct {
	Scanner   string `json:"scanner"` // "clamav"
	Path      string `json:"path"`
	Signature string `json:"signature"`
	Layer     int    `json:"layer"` // set by Squash
}

// MarkedFile is a path of the finished image that policies care about: setuid,
// setgid, capabilities, writable by all, or one of the files of accounts.
type MarkedFile struct {
	Path  string    `json:"path"`
	Kind  EntryKind `json:"kind"`
	Mode  uint32    `json:"mode"` // 0o7777
	UID   uint32    `json:"uid"`
	GID   uint32    `json:"gid"`
	Caps  string    `json:"caps,omitempty"` // security.capability, hex
	Layer int       `json:"layer"`
}

// Bits of a mode.
const (
	setuid        = 0o4000
	setgid        = 0o2000
	sticky        = 0o1000
	worldWritable = 0o0002
)

// accountFiles are marked whatever their mode is.
var accountFiles = map[string]bool{
	"etc/passwd": true, "etc/shadow": true, "etc/group": true, "etc/gshadow": true, "etc/sudoers": true,
}

// marked reports whether an entry is a MarkedFile.
func (e *Entry) marked() bool {
	switch {
	case e.Kind != File && e.Kind != Dir || e.Kind == File && e.Link != "":
		return false
	case e.Mode&(setuid|setgid) != 0, e.Caps != "", accountFiles[e.Path], strings.HasPrefix(e.Path, "etc/sudoers.d/"):
		return true
	}
	return e.Mode&worldWritable != 0 && (e.Kind == File || e.Mode&sticky == 0)
}
