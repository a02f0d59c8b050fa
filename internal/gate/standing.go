package gate

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// State is how an image stands before policy. The zero value is no answer.
type State string

const (
	StatePass     State = "pass"
	StateWarn     State = "warn"     // policy lets it pass with a word of warning
	StateFail     State = "fail"     // policy stops it, or it is not understood and gate.on_gap is deny
	StatePending  State = "pending"  // it is being analysed, or waits for it
	StateUnknown  State = "unknown"  // never seen here
	StateUnmapped State = "unmapped" // no upstream, or no mapping of the policy, is for it
	StateError    State = "error"    // it cannot be said now: data too old, a store away
)

// Inquiry asks how an image stands, by the digest that will run.
type Inquiry struct {
	// Reference is the image as a person or a cluster writes it, the registry's
	// host or the proxy's own in front ("docker.io/library/nginx:1.27").
	Reference string `json:"reference"`
	// Digest is what the reference stands for: a manifest, or an index.
	Digest digest.Digest `json:"digest"`
	// Policy is the id of the bundle to judge by; "" for the active one.
	Policy string `json:"policy,omitempty"`
	// Cluster and Namespace are where it is to run. Exceptions may be for one alone.
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Platforms are those of an index that count ("linux/amd64"); the worst of
	// them is the answer. None: all that the index has.
	Platforms []string `json:"platforms,omitempty"`
}

// Standing is the answer to an Inquiry.
type Standing struct {
	State  State         `json:"state"`
	Digest digest.Digest `json:"digest"` // of the manifest that decided; of an index its worst child
	Policy string        `json:"policy,omitempty"`
	// Message is complete for a person who sees nothing else.
	Message string `json:"message"`
	// Report is the address of the page about the image.
	Report    string    `json:"report,omitempty"`
	Evaluated time.Time `json:"evaluated,omitzero"` // when the verdict was made
	Data      uint64    `json:"data,omitempty"`     // sequence of the data it rests on
	// Expires is when the first of the exceptions runs out by which it passes; zero
	// if it passes without, or they have no end.
	Expires time.Time `json:"expires,omitzero"`
	// Analysed is true when the image has been analysed, whatever policy says.
	Analysed bool `json:"analysed"`
}

// Standings answers inquiries. A Gate does, from the catalog; so does a Remote,
// from Redis alone. Both are safe for concurrent use and answer from what is
// known: neither analyses, nor waits longer than ctx lets it.
type Standings interface {
	// Standing never fails: what cannot be said is StateError, with the reason.
	Standing(ctx context.Context, i Inquiry) Standing
	// Want asks for the analysis of an image that is not known, and for its
	// verdict, and does not wait for them. Asking again is free.
	Want(ctx context.Context, i Inquiry) error
}
