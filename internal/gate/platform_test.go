package gate_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	it "github.com/pratique/pratique/internal/imagetest"
)

// claim is an entry of an index: what it says of itself, and whether its image
// is one that policy stops.
type claim struct {
	os, architecture, variant string
	bad                       bool
	features                  []string
}

// TestPlatformsAsRuntimesReadThem: an index may spell a platform as it likes, and
// have another architecture that the nodes run as well: what a runtime would
// take counts, and nothing else.
func TestPlatformsAsRuntimesReadThem(t *testing.T) {
	s := share(t, gatetest.Options{})
	good, bad := it.Clean(), it.Vulnerable()
	s.push("team/app", "good", good)
	s.push("team/app", "bad", bad)
	for _, tt := range []struct {
		name   string
		claims []claim
		nodes  []string
		want   gate.State
	}{
		{"another name of amd64", []claim{{"linux", "amd64", "", false, nil}, {"linux", "x86_64", "", true, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"another name of arm64", []claim{{"linux", "amd64", "", false, nil}, {"linux", "aarch64", "", true, nil}}, []string{"linux/amd64", "linux/arm64"}, gate.StateFail},
		{"capitals", []claim{{"linux", "arm64", "", false, nil}, {"Linux", "AMD64", "", true, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"capitals in the configuration", []claim{{"linux", "amd64", "", true, nil}}, []string{"Linux/x86-64"}, gate.StateFail},
		{"variant of its own name", []claim{{"linux", "armhf", "", true, nil}, {"linux", "amd64", "", false, nil}}, []string{"linux/arm/v7"}, gate.StateFail},
		{"386 where there is no amd64", []claim{{"linux", "arm64", "", false, nil}, {"linux", "i386", "", true, nil}}, []string{"linux/amd64", "linux/arm64"}, gate.StateFail},
		{"386 beside amd64", []claim{{"linux", "amd64", "", false, nil}, {"linux", "386", "", true, nil}}, []string{"linux/amd64"}, gate.StatePass},
		{"386 beside what old nodes do not run", []claim{{"linux", "amd64", "v3", false, nil}, {"linux", "386", "", true, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"arm where there is no arm64", []claim{{"linux", "amd64", "", false, nil}, {"linux", "arm", "v7", true, nil}}, []string{"linux/amd64", "linux/arm64"}, gate.StateFail},
		{"arm beside arm64", []claim{{"linux", "arm64", "v8", false, nil}, {"linux", "arm", "v7", true, nil}}, []string{"linux/arm64"}, gate.StatePass},
		{"an older variant", []claim{{"linux", "arm", "v6", true, nil}, {"linux", "amd64", "", false, nil}}, []string{"linux/arm/v7"}, gate.StateFail},
		{"no system", []claim{{"", "amd64", "", true, nil}, {"linux", "amd64", "", false, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"no architecture", []claim{{"linux", "amd64", "", false, nil}, {"linux", "", "", true, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"386 beside what demands more than amd64", []claim{{"linux", "amd64", "", false, []string{"x"}}, {"linux", "386", "", true, nil}}, []string{"linux/amd64"}, gate.StateFail},
		{"no such node", []claim{{"linux", "amd64", "", false, nil}, {"linux", "s390x", "", true, nil}}, []string{"linux/amd64"}, gate.StatePass},
		{"not for these nodes", []claim{{"windows", "amd64", "", false, nil}}, []string{"linux/amd64"}, gate.StateUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var entries []image.Descriptor
			for _, c := range tt.claims {
				im := good
				if c.bad {
					im = bad
				}
				entries = append(entries, image.Descriptor{MediaType: image.MediaTypeManifest, Digest: im.Digest(), Size: int64(len(im.Manifest)),
					Platform: &image.Platform{OS: c.os, Architecture: c.architecture, Variant: c.variant, OSFeatures: c.features}})
			}
			raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeIndex, "manifests": entries})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Local.PutManifest(t.Context(), "team/app", "index", image.MediaTypeIndex, raw); err != nil {
				t.Fatal(err)
			}
			i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:index", Digest: digest.FromBytes(raw), Platforms: tt.nodes}
			if err := s.remote.Want(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			s.wants(i, tt.want)
		})
	}
}

// TestWishesShareTheirPlatforms: those of a configuration are the same slice in
// every request.
func TestWishesShareTheirPlatforms(t *testing.T) {
	s := share(t, gatetest.Options{})
	platforms := []string{"linux/arm64", "linux/amd64"}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			i := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: digest.FromString("never seen"), Platforms: platforms}
			if err := s.remote.Want(t.Context(), i); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if platforms[0] != "linux/arm64" {
		t.Errorf("the caller's platforms are %q now", platforms)
	}
}
