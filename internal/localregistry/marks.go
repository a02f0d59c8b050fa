package localregistry

import (
	"encoding/hex"
	"sync"

	"github.com/opencontainers/go-digest"
)

// marks is what a collection under way has found to be in use. Those who link
// content, or rely on a link, add to it while they hold the share of its digest:
// what the collection passed by before they came is kept all the same. Without a
// collection nothing is noted.
type marks struct {
	mu     sync.Mutex
	blobs  map[sum]struct{} // content that a repository links; nil: no collection
	repo   string           // the repository whose links are being held against its manifests; "": none
	inRepo map[sum]struct{} // what its manifests name, and what a request relies on
}

type sum [32]byte // a sha256

func sumOf(d digest.Digest) (s sum) {
	_, _ = hex.Decode(s[:], []byte(d.Encoded())) // 64 hexadecimal digits: d is a valid sha256
	return s
}

func (m *marks) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs = map[sum]struct{}{}
}

func (m *marks) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs = nil
}

// enter begins with the links of a repository, leave ends it.
func (m *marks) enter(repo string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repo, m.inRepo = repo, map[sum]struct{}{}
}

func (m *marks) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repo, m.inRepo = "", nil
}

// linked notes that the repository links the content.
func (m *marks) linked(repo string, ds ...digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		if m.blobs != nil {
			m.blobs[sumOf(d)] = struct{}{}
		}
		if m.repo == repo {
			m.inRepo[sumOf(d)] = struct{}{}
		}
	}
}

// named notes that a manifest of the repository names the content, or that
// somebody was told that it is there.
func (m *marks) named(repo string, d digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.repo == repo {
		m.inRepo[sumOf(d)] = struct{}{}
	}
}

// isNamed and isLinked tell what was noted so far.
func (m *marks) isNamed(d digest.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.inRepo[sumOf(d)]
	return ok
}

func (m *marks) isLinked(d digest.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blobs[sumOf(d)]
	return ok
}
