package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/internal/gate"
)

// maxFlips bounds the news that wait for one workload.
const maxFlips = 50

// table is what runs, and how it stands. Safe for concurrent use.
type table struct {
	mu        sync.Mutex
	pods      map[string]*podEntry // by namespace/name
	images    map[subject]*imageEntry
	workloads map[types.UID]*workloadEntry
}

type podEntry struct {
	namespace, name string
	uid             types.UID
	workload        types.UID
	subjects        []subject
	evictable       bool // not static, not on its way out
}

type imageEntry struct {
	standing gate.Standing
	asked    time.Time
	good     time.Time // when it was last answered at all
	// decided is the last of pass, warn and fail: what comes in between, because
	// a store was away or a verdict ran out, is no flip.
	decided gate.State
	since   time.Time // decided stands since
	// admitted is what admission let in under the name; nil for nothing, or when
	// it is not known (compared zero).
	admitted *gate.Admitted
	compared time.Time // when that was found out
	renewed  time.Time // when the memory of it was last renewed
	pods     map[string]bool
}

type workloadEntry struct {
	Workload
	pods  map[string]bool
	flips []flip
}

// flip is a change that people want to hear of.
type flip struct {
	subject  subject
	from, to gate.State // from is "" for an image that policy stops at first sight
	message  string
	at       time.Time
}

func newTable() *table {
	return &table{pods: map[string]*podEntry{}, images: map[subject]*imageEntry{}, workloads: map[types.UID]*workloadEntry{}}
}

// put notes a pod. It returns the images that were not there before, and the
// workloads that have changed.
func (t *table) put(key string, p podEntry, w Workload) (fresh []subject, changed []types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.pods[key]; old != nil {
		if old.uid == p.uid && old.workload == p.workload && slices.Equal(old.subjects, p.subjects) {
			old.evictable = p.evictable
			return nil, nil
		}
		changed = t.unlink(key, old)
	}
	t.pods[key] = &p
	entry := t.workloads[w.UID]
	if entry == nil {
		entry = &workloadEntry{pods: map[string]bool{}}
		t.workloads[w.UID] = entry
	}
	entry.Workload, entry.pods[key] = w, true
	for _, s := range p.subjects {
		if t.images[s] == nil {
			t.images[s] = &imageEntry{pods: map[string]bool{}}
			fresh = append(fresh, s)
		}
		t.images[s].pods[key] = true
	}
	return fresh, append(changed, w.UID)
}

// drop forgets a pod.
func (t *table) drop(key string) (changed []types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.pods[key]; old != nil {
		return t.unlink(key, old)
	}
	return nil
}

// unlink takes a pod out. Its images stay, with no pod, until they would be asked
// about next: what starts again meanwhile is no news.
func (t *table) unlink(key string, old *podEntry) []types.UID {
	delete(t.pods, key)
	for _, s := range old.subjects {
		if entry := t.images[s]; entry != nil {
			delete(entry.pods, key)
		}
	}
	if w := t.workloads[old.workload]; w != nil {
		if delete(w.pods, key); len(w.pods) == 0 {
			delete(t.workloads, old.workload)
		}
	}
	return []types.UID{old.workload}
}

// settle notes an answer. changed are the workloads that it matters to; flipped
// is what to tell them, nil for nothing. While an image cannot be told about,
// what was known stays for a while: a store that is away for a minute does not
// write every report anew.
func (t *table) settle(s subject, st gate.Standing, now time.Time, patience time.Duration) (changed []types.UID, flipped *flip) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.images[s]
	if entry == nil {
		return nil, nil
	}
	entry.asked = now
	if st.State != gate.StateError {
		entry.good = now
	} else if entry.standing.State != "" && now.Sub(entry.good) < patience {
		return nil, nil
	}
	old := entry.standing
	entry.standing = st
	if isDecided(st.State) && st.State != entry.decided {
		if entry.decided != "" || st.State == gate.StateFail {
			flipped = &flip{s, entry.decided, st.State, st.Message, now}
		}
		entry.decided, entry.since = st.State, now
	}
	if flipped == nil && old.State == st.State && old.Message == st.Message && old.Policy == st.Policy {
		return nil, nil
	}
	return t.tell(entry, flipped), flipped
}

// tell leaves the news with every workload that runs the image.
func (t *table) tell(entry *imageEntry, f *flip) []types.UID {
	concerned := map[types.UID]bool{}
	for key := range entry.pods {
		concerned[t.pods[key].workload] = true
	}
	for uid := range concerned {
		if w := t.workloads[uid]; f != nil && w != nil && len(w.flips) < maxFlips {
			w.flips = append(w.flips, *f)
		}
	}
	return slices.Collect(maps.Keys(concerned))
}

// compare notes what was admitted. changed are the workloads for which that is
// news; renew is true when it is time to note the admission again.
func (t *table) compare(s subject, found *gate.Admitted, now time.Time) (changed []types.UID, renew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.images[s]
	if entry == nil {
		return nil, false
	}
	before := entry.admission(s)
	entry.admitted, entry.compared = found, now
	if entry.admission(s) != before {
		changed = t.tell(entry, nil)
	}
	if renew = found != nil && found.Digest == s.digest && now.Sub(entry.renewed) >= renewal; renew {
		entry.renewed = now
	}
	return changed, renew
}

// How what runs was admitted.
const (
	AdmittedSame  = "admitted" // this very image
	AdmittedOther = "other"    // another one under the same name: the tag has moved since
	AdmittedNone  = "none"     // never seen by admission: older than it, exempt, or past it
)

func (e *imageEntry) admission(s subject) string {
	switch {
	case e.compared.IsZero():
		return ""
	case e.admitted == nil:
		return AdmittedNone
	case e.admitted.Digest == s.digest:
		return AdmittedSame
	}
	return AdmittedOther
}

func isDecided(s gate.State) bool {
	return s == gate.StatePass || s == gate.StateWarn || s == gate.StateFail
}

// runs reports whether an image runs, and forgets it if it does not.
func (t *table) runs(s subject) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.images[s]
	if entry != nil && len(entry.pods) == 0 {
		delete(t.images, s)
		return false
	}
	return entry != nil
}

func (t *table) subjects() []subject {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.images))
}

func (t *table) uids() []types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.workloads))
}

// finding is an image of a workload.
type finding struct {
	subject
	gate.Standing
	admission string // how it came in
}

// of returns a workload, its images with the worst first, and takes its news
// along; ok is false if nothing of it runs any more.
func (t *table) of(uid types.UID) (w Workload, images []finding, news []flip, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.workloads[uid]
	if entry == nil {
		return Workload{UID: uid}, nil, nil, false
	}
	seen := map[subject]bool{}
	for key := range entry.pods {
		for _, s := range t.pods[key].subjects {
			if !seen[s] {
				seen[s] = true
				images = append(images, finding{s, t.images[s].standing, t.images[s].admission(s)})
			}
		}
	}
	slices.SortFunc(images, func(a, b finding) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), strings.Compare(a.String(), b.String()))
	})
	news, entry.flips = entry.flips, nil
	return entry.Workload, images, news, true
}

// String is of the image: both halves of a finding have one.
func (f finding) String() string { return f.subject.String() }

// rank orders states, the worst first.
func rank(s gate.State) int {
	return slices.Index([]gate.State{gate.StateFail, gate.StateError, gate.StateUnknown, gate.StatePending, gate.StateUnmapped, "", gate.StateWarn, gate.StatePass}, s)
}

// Running is an image that runs in a namespace, and how it stands.
type Running struct {
	Namespace string        `json:"namespace"`
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest,omitempty"` // "" if the node knows the image by its id alone
	Standing  gate.Standing `json:"standing"`         // no State: not asked yet
	Asked     time.Time     `json:"asked,omitzero"`
	Since     time.Time     `json:"since,omitzero"` // the last decision stands since
	// Admission is how it came in: admitted, other or none; "" if that is not known.
	Admission string `json:"admission,omitempty"`
	// Admitted is the digest that was let in under the name.
	Admitted  digest.Digest `json:"admitted,omitempty"`
	Pods      int           `json:"pods"`
	Workloads []Workload    `json:"workloads"`
	// MoreWorkloads is how many are not listed.
	MoreWorkloads int `json:"more_workloads,omitempty"`
}

// running lists what runs, the worst first.
func (t *table) running() []Running {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Running, 0, len(t.images))
	for s, entry := range t.images {
		if len(entry.pods) == 0 {
			continue
		}
		r := Running{Namespace: s.namespace, Reference: s.reference, Digest: s.digest, Standing: entry.standing, Asked: entry.asked, Since: entry.since, Pods: len(entry.pods), Admission: entry.admission(s)}
		if entry.admitted != nil {
			r.Admitted = entry.admitted.Digest
		}
		of := map[types.UID]bool{}
		for key := range entry.pods {
			if uid := t.pods[key].workload; !of[uid] {
				of[uid] = true
				r.Workloads = append(r.Workloads, t.workloads[uid].Workload)
			}
		}
		slices.SortFunc(r.Workloads, func(a, b Workload) int { return strings.Compare(a.String(), b.String()) })
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Running) int {
		return cmp.Or(cmp.Compare(rank(a.Standing.State), rank(b.Standing.State)), strings.Compare(a.Reference, b.Reference), strings.Compare(a.Namespace, b.Namespace), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	return all
}

// count is how many images stand how, how they came in, and how many pods run.
func (t *table) count() (byState map[gate.State]int, byAdmission map[string]int, pods int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byState, byAdmission = map[gate.State]int{}, map[string]int{}
	for s, entry := range t.images {
		if len(entry.pods) > 0 {
			byState[entry.standing.State]++
			byAdmission[entry.admission(s)]++
		}
	}
	return byState, byAdmission, len(t.pods)
}
