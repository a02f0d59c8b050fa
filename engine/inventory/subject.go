package inventory

// Kind is what a manifest stands for, decided by content and never by what it
// calls itself.
type Kind string

const (
	// KindImage: something that a runtime can run, and that was read.
	KindImage Kind = "image"
	// KindArtifact: no layer of it is runnable (signature, SBOM, chart).
	KindArtifact Kind = "artifact"
	// KindUnscannable: runnable, or not known not to be, and unreadable.
	KindUnscannable Kind = "unscannable"
)

// Subject is what an analysis found a manifest to be.
type Subject struct {
	Kind   Kind
	Reason string // why it is unscannable, for a person
	Maker         // that decided
	// DiffIDsMatch is true when the layers are what the config says: only then
	// may a policy trust the image id.
	DiffIDsMatch bool
	// Transient: it depends on what the repository happens to have, and must not
	// be kept for others.
	Transient bool
}
