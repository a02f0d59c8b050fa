package inventory_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/inventory"
)

var someEntries = []inventory.Entry{
	{Path: "usr", Kind: inventory.Dir, Mode: 0o755},
	{Path: "usr/bin/su", Kind: inventory.File, Mode: 0o4755, Size: 1 << 40, Sum: [32]byte{1, 2, 3}, Caps: "0100000200040000"},
	{Path: "usr/bin/sudo", Kind: inventory.Symlink, Link: "su", UID: 1000, GID: 4_000_000_000},
	{Path: "", Kind: inventory.OpaqueDir},
	{Path: "é", Kind: inventory.Whiteout},
}

func pack(list []inventory.Entry) *inventory.Entries {
	es := new(inventory.Entries)
	for _, e := range list {
		es.Append(e)
	}
	return es
}

// TestEntriesKeepAll: what is packed comes back, also through JSON.
func TestEntriesKeepAll(t *testing.T) {
	packed := pack(someEntries)
	raw, err := json.Marshal(*packed)
	if err != nil {
		t.Fatal(err)
	}
	var back inventory.Entries
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	for name, es := range map[string]*inventory.Entries{"packed": packed, "from JSON": &back} {
		if diff := cmp.Diff(someEntries, slices.Collect(es.All())); diff != "" || es.Len() != len(someEntries) {
			t.Errorf("%s: %d entries\n%s", name, es.Len(), diff)
		}
	}
	back.Append(someEntries[1])
	if got := slices.Collect(back.All()); got[len(got)-1] != someEntries[1] {
		t.Error("appended after JSON:", got[len(got)-1])
	}
}

// FuzzEntries: a stored list may be damaged, and is then refused.
func FuzzEntries(f *testing.F) {
	raw, err := json.Marshal(*pack(someEntries))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`"ZgE="`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var es inventory.Entries
		if json.Unmarshal(raw, &es) == nil && len(slices.Collect(es.All())) != es.Len() {
			t.Error("a list that was read does not give all that it counts")
		}
	})
}
