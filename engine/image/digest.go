package image

import (
	_ "crypto/sha256" // both algorithms, by name in digests
	_ "crypto/sha512"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// SupportedDigest checks that d is well formed and of an algorithm that content
// may be named by: sha256 or sha512, those that the OCI image specification
// registers and every reader knows.
func SupportedDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fmt.Errorf("digest %s: only sha256 and sha512 are supported", d)
	}
	return nil
}
