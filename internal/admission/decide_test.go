package admission_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
)

// every selects all images.
func every(mode string, change func(*admission.Selector)) func(*admission.Options) {
	return config(func(c *admission.Config) {
		s := admission.Selector{Match: admission.Match{Type: admission.MatchImage, Value: ".*"}, Mode: mode}
		if change != nil {
			change(&s)
		}
		c.Selectors = []admission.Selector{s}
	})
}

// TestAnswers: each state in each mode, as it is by default.
func TestAnswers(t *testing.T) {
	const deny, warn, allow, fail = admission.Deny, admission.Warn, admission.Allow, admission.Fail
	images := []string{good, doubt, evil, waiting, strange, foreign, broken}
	for _, tt := range []struct {
		name  string
		setup func(*admission.Options)
		want  []string
	}{
		{"policy", every("policy", nil), []string{allow, warn, deny, deny, deny, deny, fail}},
		{"analysis", every("analysis", nil), []string{allow, warn, warn, deny, deny, allow, fail}},
		{"passive", every("passive", nil), []string{allow, warn, warn, allow, allow, allow, allow}},
		{"dry run", every("policy", func(s *admission.Selector) { s.DryRun = true }), []string{allow, warn, warn, warn, warn, warn, warn}},
		{"no selector", every("", func(s *admission.Selector) { s.Match.Value = "nothing" }), []string{deny, deny, deny, deny, deny, deny, deny}},
		{"configured", every("policy", func(s *admission.Selector) {
			s.Answers = admission.Answers{Pass: warn, Warn: deny, Fail: warn, Pending: allow, Unknown: warn, Unmapped: allow, Error: deny}
		}), []string{warn, deny, warn, allow, warn, allow, deny}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, tt.setup)
			for i, im := range images {
				if got, res := validated(t, w, creation(pod(im))); got != tt.want[i] {
					t.Errorf("%s: %s, want %s: %+v", im, got, tt.want[i], res)
				}
			}
		})
	}
}

// TestAnalysedIsWhatCounts: mode analysis looks at nothing else, and lets in
// nothing that was not analysed, whatever is said of it.
func TestAnalysedIsWhatCounts(t *testing.T) {
	for state, answer := range map[gate.State]string{gate.StatePass: admission.Deny, gate.StateWarn: admission.Deny, gate.StateFail: admission.Deny, gate.StateUnmapped: admission.Deny, "": admission.Fail, "new": admission.Fail} {
		w := start(t, func(o *admission.Options) {
			every("analysis", nil)(o)
			o.Standings = &gateStub{verdicts: map[digest.Digest]gate.Standing{digestOf(good): {State: state}}}
		})
		want(t, w, creation(pod(good)), answer)
	}
}

// TestWorstWins: one answer for the object; a refusal outranks a failure.
func TestWorstWins(t *testing.T) {
	w := start(t, nil)
	for _, tt := range []struct {
		images []string
		want   string
	}{
		{[]string{good, good}, admission.Allow}, {[]string{good, doubt}, admission.Warn}, {[]string{doubt, broken}, admission.Fail},
		{[]string{broken, evil, doubt, good}, admission.Deny},
	} {
		want(t, w, creation(pod(tt.images...)), tt.want)
	}
}

// TestCancelled: what was interrupted is a failure, also when a careless gate
// says pass; and the look-up goes on, so that the next attempt finds it.
func TestCancelled(t *testing.T) {
	g := told()
	g.delay = 700 * time.Millisecond
	w := start(t, func(o *admission.Options) { o.Standings = g })
	begun := time.Now()
	res, rec := review(t, w, "/validate?timeout=500ms", creation(pod(good)))
	if res != nil || !strings.Contains(rec.Body.String(), "not answered in time") || time.Since(begun) > 500*time.Millisecond {
		t.Errorf("%+v after %s: %s", res, time.Since(begun), rec.Body)
	}
	res, rec = review(t, w, "/validate?timeout=700ms", creation(pod(good)))
	if res == nil || !res.Allowed || len(g.inquiries()) != 1 {
		t.Errorf("the second attempt: %s, %d inquiries", rec.Body, len(g.inquiries()))
	}
}

// TestLenientWaitsNoLonger: what refuses nothing costs a second at most.
func TestLenientWaitsNoLonger(t *testing.T) {
	w := start(t, func(o *admission.Options) {
		every("passive", nil)(o)
		o.Resolver = &registryStub{delay: time.Minute}
	})
	begun := time.Now()
	want(t, w, creation(pod(evil)), admission.Allow)
	if took := time.Since(begun); took > 1500*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

// TestWant: what is not known is asked for, with its digest, and the person is
// told. A dry run asks for nothing.
func TestWant(t *testing.T) {
	g := told()
	w := start(t, func(o *admission.Options) {
		o.Standings, o.Config.Platforms = g, []string{"linux/amd64"}
		o.Config.Selectors = []admission.Selector{{Match: admission.Match{Type: "image", Value: ".*"}, Policy: "strict"}}
	})
	for _, im := range []string{strange, waiting} {
		res := want(t, w, creation(pod(im)), admission.Deny)
		if !strings.Contains(res.Result.Message, "try again") {
			t.Errorf("no hint: %s", res.Result.Message)
		}
	}
	wanted := g.wants()
	if len(wanted) != 2 || wanted[0].Reference != strange || wanted[0].Digest != digestOf(strange) || wanted[0].Policy != "strict" || !slices.Equal(wanted[0].Platforms, []string{"linux/amd64"}) {
		t.Errorf("asked for %+v", wanted)
	}
	dry := creation(pod(strange))
	yes := true
	dry.DryRun = &yes
	res := want(t, w, dry, admission.Deny)
	if len(g.wants()) != 2 || !strings.Contains(res.Result.Message, "a dry run asks for no analysis") {
		t.Errorf("dry run: %s", res.Result.Message)
	}
	g.wantErr = errors.New("queue away")
	res = want(t, w, creation(pod(strange)), admission.Deny)
	if !strings.Contains(res.Result.Message, "could not be asked for") || strings.Contains(res.Result.Message, "queue away") {
		t.Errorf("lost: %s", res.Result.Message)
	}
}

// TestResolving: digests are taken as they are, tags are looked up with the pod's
// own credentials, never another host's, and remembered for a short time under
// the whole name.
func TestResolving(t *testing.T) {
	now := time.Now()
	reg, g := &registryStub{fails: map[string]error{}}, told()
	w := start(t, func(o *admission.Options) {
		o.Resolver, o.Standings, o.Now = reg, g, func() time.Time { return now }
		o.PullSecrets = secrets{"shop": {
			{Host: "registry.example", Username: "alice", Password: "secret"}, {Host: "other.example", Username: "bob", Password: "secret"}, {Host: "Docker.io", Token: "t"},
		}}
	})
	want(t, w, creation(pod("good@"+digestOf(good).String())), admission.Allow)
	if calls := reg.resolved(); len(calls) != 0 {
		t.Errorf("a digest was looked up: %v", calls)
	}
	want(t, w, creation(pod("registry.example/app:1", "third.example/app:1", "good:1")), admission.Deny)
	for _, c := range reg.resolved() {
		host, _, _ := strings.Cut(c.ref, "/")
		if c.credentials.Host != "" && !strings.EqualFold(c.credentials.Host, host) {
			t.Errorf("credentials of %s sent to %s", c.credentials.Host, host)
		}
		if host == "registry.example" && c.credentials.Username != "alice" {
			t.Errorf("%s looked up with %+v", c.ref, c.credentials)
		}
	}
	before := len(reg.resolved())
	want(t, w, creation(pod("good:1")), admission.Allow)
	if len(reg.resolved()) != before {
		t.Error("looked up again at once")
	}
	now = now.Add(6 * time.Second)
	reg.moved = map[string]digest.Digest{good: digestOf(evil)}
	want(t, w, creation(pod("good:1")), admission.Deny)
	// The same repository and tag, of another registry, in the same second.
	want(t, w, creation(pod("other.example/library/good:1")), admission.Deny)

	reg.fails["docker.io/library/gone:1"] = image.ErrManifestUnknown
	res := want(t, w, creation(pod("gone:1")), admission.Deny)
	if !strings.Contains(res.Result.Message, "no such image") {
		t.Errorf("not there: %s", res.Result.Message)
	}
	reg.fails["docker.io/library/down:1"] = errors.New("dial tcp 10.0.0.1: secret detail")
	if res, rec := review(t, w, "/validate", creation(pod("down:1"))); res != nil || strings.Contains(rec.Body.String(), "10.0.0.1") {
		t.Errorf("a registry that is down: %+v %s", res, rec.Body)
	}
}

// TestPrivateDigests: a digest that was found with one namespace's credentials is
// not told to another.
func TestPrivateDigests(t *testing.T) {
	reg := &registryStub{}
	w := start(t, func(o *admission.Options) {
		o.Resolver, o.PullSecrets = reg, secrets{"shop": {{Host: "docker.io", Username: "alice", Password: "x"}}}
	})
	for _, namespace := range []string{"shop", "other", "shop", "other"} {
		req := creation(pod("good:1"))
		req.Namespace = namespace
		want(t, w, req, admission.Allow)
	}
	if calls := reg.resolved(); len(calls) != 2 || calls[0].credentials == calls[1].credentials {
		t.Errorf("looked up %v", calls)
	}
}

// TestExempt: exempt namespaces are not judged, nor read.
func TestExempt(t *testing.T) {
	g := told()
	w := start(t, func(o *admission.Options) { o.Standings = g })
	for object, answer := range map[string]string{"kube-system": admission.Allow, "shop": admission.Deny} {
		req := creation(pod(evil))
		req.Namespace = object
		want(t, w, req, answer)
		req.Object.Raw = []byte(`{}`)
		want(t, w, req, answer)
	}
	if n := len(g.inquiries()); n != 1 {
		t.Errorf("%d inquiries", n)
	}
}

// TestBreakGlass: grants and annotations turn refusals, for a time, for those
// who may, and on record.
func TestBreakGlass(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	grant := admission.Grant{ID: "inc-42", By: "carol", Reason: "the shop is down", Until: now.Add(time.Hour), Namespaces: []string{"sho*"}, Images: []string{"docker.io/library/evil:*"}}
	annotated := func(reason, until string) m {
		p := pod(evil)
		p["metadata"].(m)["annotations"] = m{"pratique.io/break-glass-reason": reason, "pratique.io/break-glass-until": until}
		return p
	}
	soon := now.Add(time.Hour).Format(time.RFC3339)
	for _, tt := range []struct {
		name      string
		grant     func(*admission.Grant) // nil: none
		object    m
		namespace string
		groups    []string
		want      string
		says      string
	}{
		{"grant", func(*admission.Grant) {}, pod(evil), "shop", nil, admission.Warn, "break-glass inc-42 by carol until 2026-11-27T13:00:00Z: the shop is down"},
		{"grant that ran out", func(g *admission.Grant) { g.Until = now }, pod(evil), "shop", nil, admission.Deny, ""},
		{"grant for another namespace", func(*admission.Grant) {}, pod(evil), "bank", nil, admission.Deny, ""},
		{"grant for another image", func(g *admission.Grant) { g.Images = []string{"docker.io/library/good:*"} }, pod(evil), "shop", nil, admission.Deny, ""},
		{"grant for one of two", func(*admission.Grant) {}, pod(evil, strange), "shop", nil, admission.Deny, ""},
		{"grant and a failure", func(g *admission.Grant) { g.Images = nil }, pod(broken), "shop", nil, admission.Warn, "too old"},
		{"annotation", nil, annotated("the shop is down", soon), "shop", []string{"oncall"}, admission.Warn, "break-glass annotation by alice until 2026-11-27T13:00:00Z: the shop is down"},
		{"annotation of anybody", nil, annotated("the shop is down", soon), "shop", []string{"developers"}, admission.Deny, `user "alice" may not break glass`},
		{"annotation without reason", nil, annotated("oops", soon), "shop", []string{"oncall"}, admission.Deny, "at least 10 characters"},
		{"annotation without end", nil, annotated("the shop is down", ""), "shop", []string{"oncall"}, admission.Deny, "want a time"},
		{"annotation that is over", nil, annotated("the shop is down", now.Add(-time.Second).Format(time.RFC3339)), "shop", []string{"oncall"}, admission.Deny, "is over"},
		{"annotation for ever", nil, annotated("the shop is down", "2036-01-01T00:00:00Z"), "shop", []string{"oncall"}, admission.Deny, "further away than 4h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, func(o *admission.Options) {
				o.Now = func() time.Time { return now }
				o.Config.BreakGlass.Groups = []string{"oncall"}
				if tt.grant != nil {
					g := grant
					tt.grant(&g)
					o.Grants = func() []admission.Grant { return []admission.Grant{g} }
				}
			})
			req := creation(tt.object)
			req.Namespace, req.UserInfo.Groups = tt.namespace, tt.groups
			res := want(t, w, req, tt.want)
			text := strings.Join(res.Warnings, " ")
			if res.Result != nil {
				text += res.Result.Message
			}
			if !strings.Contains(text, tt.says) {
				t.Errorf("says %q", text)
			}
			if note := res.AuditAnnotations["break-glass"]; (note != "") != (tt.want == admission.Warn) {
				t.Errorf("audited as %q", note)
			}
		})
	}
}

// TestBounds: however much there is to say, the answer is one that API servers
// and terminals take whole.
func TestBounds(t *testing.T) {
	long := told()
	var fails, warns []string
	for i := range 60 {
		f, w := fmt.Sprintf("docker.io/library/fail%02d:1", i), fmt.Sprintf("docker.io/library/warn%02d:1", i)
		report := "https://pratique.example/report/" + digestOf(f).String()
		text := strings.Repeat("CVE-2023-0286 öpenssl 1.1.1n (fixed in 1.1.1o), ", 200) + "\n\x1b[31m; report: " + report
		long.verdicts[digestOf(f)] = gate.Standing{State: gate.StateFail, Message: text, Report: report}
		long.verdicts[digestOf(w)] = gate.Standing{State: gate.StateWarn, Message: text, Report: report}
		fails, warns = append(fails, f), append(warns, w)
	}
	w := start(t, func(o *admission.Options) { o.Standings = long })
	res := want(t, w, creation(pod(append(fails, warns...)...)), admission.Deny)
	message := res.Result.Message
	if len(message) > 1024 || !strings.Contains(message, "60 of 120 images") || !strings.Contains(message, "https://pratique.example/report/"+digestOf(fails[0]).String()) || !strings.Contains(message, "more)") {
		t.Errorf("%d bytes: %s", len(message), message)
	}
	total := 0
	for _, text := range res.Warnings {
		if total += len(text); len(text) > 256 {
			t.Errorf("a warning of %d bytes", len(text))
		}
	}
	if total > 4096 || len(res.Warnings) < 10 {
		t.Errorf("%d warnings of %d bytes", len(res.Warnings), total)
	}
	if n := len(res.Result.Details.Causes); n != 32 {
		t.Errorf("%d causes", n)
	}
	for _, text := range append(res.Warnings, message) {
		if strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("not printable: %q", text)
		}
	}
	for key, value := range res.AuditAnnotations {
		if len(validation.IsQualifiedName("validate.pratique.io/"+key)) > 0 || len(value) > 4096 {
			t.Errorf("audit annotation %s of %d bytes", key, len(value))
		}
	}
}

// breaking is a gate with a defect.
type breaking struct{ gate.Standings }

func (breaking) Standing(context.Context, gate.Inquiry) gate.Standing { panic("defect") }

// TestSurvives: what breaks down while one image is judged is a failure of that
// request.
func TestSurvives(t *testing.T) {
	w := start(t, func(o *admission.Options) { o.Standings = breaking{} })
	want(t, w, creation(pod(good)), admission.Fail)
	w = start(t, func(o *admission.Options) { o.Grants = func() []admission.Grant { panic("defect") } })
	want(t, w, creation(pod(evil)), admission.Fail)
}

// TestPlatforms: those of the configuration in force come first, then what the
// cluster's nodes report at that moment.
func TestPlatforms(t *testing.T) {
	g, nodes := told(), []string{"linux/amd64"}
	w := start(t, func(o *admission.Options) {
		o.Standings, o.Platforms = g, func() []string { return nodes }
	})
	judgedFor := func(platforms ...string) {
		t.Helper()
		want(t, w, creation(pod(good)), admission.Allow)
		all := g.inquiries()
		if last := all[len(all)-1]; !slices.Equal(last.Platforms, platforms) || !slices.Equal(w.Platforms(), platforms) {
			t.Errorf("judged for %q, told %q, want %q", last.Platforms, w.Platforms(), platforms)
		}
	}
	judgedFor("linux/amd64")
	nodes = []string{"linux/amd64", "linux/arm64"}
	judgedFor("linux/amd64", "linux/arm64")
	nodes = nil
	judgedFor()
	nodes = []string{"linux/arm64"}
	c := options(nil).Config
	c.Platforms = []string{"linux/s390x"}
	if err := w.Reload(c); err != nil {
		t.Fatal(err)
	}
	judgedFor("linux/s390x")
}
