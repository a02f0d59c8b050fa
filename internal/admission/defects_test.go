package admission_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	registrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/gate"
)

// TestAnchoreDefects: what people complained of in Anchore's admission
// controller, one case for each, under the number that it has in the list of
// docs/admission.md.
func TestAnchoreDefects(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"1 init and debug containers ignored", func(t *testing.T) {
			p := pod(good)
			p["spec"].(m)["initContainers"] = []any{m{"name": "i", "image": evil}}
			want(t, start(t, nil), creation(p), admission.Deny)
			p = pod(good)
			p["spec"].(m)["ephemeralContainers"] = []any{m{"name": "e", "image": evil}}
			want(t, start(t, nil), creation(p), admission.Deny)
		}},
		{"2 updates unchecked", func(t *testing.T) { want(t, start(t, nil), update(pod(good), pod(evil)), admission.Deny) }},
		{"3 CronJob of batch/v1 let in unread", func(t *testing.T) {
			want(t, start(t, nil), creation(nested("batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec", m{"containers": containers(evil)})), admission.Deny)
		}},
		{"4 a tag is judged, and pulled later", func(t *testing.T) {
			w := start(t, config(func(c *admission.Config) { c.Mutation.Pin = true }))
			res, _ := review(t, w, "/mutate", creation(pod("good:1")))
			if !strings.Contains(string(res.Patch), "good:1@"+digestOf(good).String()) {
				t.Errorf("patch %s", res.Patch)
			}
		}},
		{"5 verdict of the image that the tag once was", func(t *testing.T) {
			g := told()
			w := start(t, func(o *admission.Options) {
				o.Standings, o.Resolver = g, &registryStub{moved: map[string]digest.Digest{good: digestOf(evil)}}
			})
			want(t, w, creation(pod("good:1")), admission.Deny)
			if asked := g.inquiries(); asked[0].Digest != digestOf(evil) {
				t.Errorf("asked for %+v", asked)
			}
		}},
		{"6 open by default", func(t *testing.T) {
			// The registration is the operator's; the webhook itself lets nothing in
			// that it does not know.
			for _, im := range []string{strange, waiting, foreign} {
				want(t, start(t, nil), creation(pod(im)), admission.Deny)
			}
		}},
		{"7 many calls for one image", func(t *testing.T) {
			g, reg := told(), &registryStub{delay: 20 * time.Millisecond}
			g.delay = 20 * time.Millisecond
			w := start(t, func(o *admission.Options) { o.Standings, o.Resolver, o.Config.Resolutions = g, reg, time.Minute })
			var group sync.WaitGroup
			for range 40 {
				group.Go(func() { want(t, w, creation(pod(good, good)), admission.Allow) })
			}
			group.Wait()
			if len(reg.resolved()) != 1 || len(g.inquiries()) > 20 {
				t.Errorf("%d look-ups, %d inquiries", len(reg.resolved()), len(g.inquiries()))
			}
		}},
		{"8 waits for registry and analysis", func(t *testing.T) {
			w := start(t, func(o *admission.Options) { o.Resolver = &registryStub{delay: time.Minute} })
			begun := time.Now()
			if res, rec := review(t, w, "/validate?timeout=1s", creation(pod(strange))); res != nil || time.Since(begun) > time.Second {
				t.Errorf("%s after %s", rec.Body, time.Since(begun))
			}
		}},
		{"9 starts only with the engine, and locks itself out", func(t *testing.T) {
			down := told()
			down.verdicts[digestOf(good)] = gate.Standing{State: gate.StateError, Message: "engine away"}
			w := start(t, func(o *admission.Options) {
				o.Standings, o.Config.ExemptNamespaces = down, append(o.Config.ExemptNamespaces, "pratique")
			})
			if err := w.Ready(); err != nil {
				t.Error(err)
			}
			own := creation(pod(good))
			own.Namespace = "pratique"
			want(t, w, own, admission.Allow)
		}},
		{"10 a dry run begins analyses", func(t *testing.T) {
			g := told()
			w := start(t, func(o *admission.Options) { o.Standings = g })
			req, yes := creation(pod(strange)), true
			req.DryRun = &yes
			want(t, w, req, admission.Deny)
			if wanted := g.wants(); len(wanted) > 0 {
				t.Errorf("asked for %v", wanted)
			}
		}},
		{"11 failures told as refusals", func(t *testing.T) {
			res, rec := review(t, start(t, nil), "/validate", creation(pod(broken)))
			if res != nil || rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), "this is no refusal") {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		}},
		{"12 typing errors found at the first request, or never", func(t *testing.T) {
			_, err := admission.New(options(anchore(t, strings.Replace(values, `"pod"`, `"pot"`, 1), "")))
			if err == nil || !strings.Contains(err.Error(), `"pot" is none of`) {
				t.Error(err)
			}
		}},
		{"12 a namespace that cannot be read falls through to another rule", func(t *testing.T) {
			w := start(t, func(o *admission.Options) {
				anchore(t, strings.Replace(values, "SelectorKeyRegex: name", "SelectorKeyRegex: tier", 1), "")(o)
				o.Namespaces = namespaces{}
			})
			want(t, w, creation(pod(good)), admission.Fail)
		}},
		{"13 breaking glass needs the engine's credentials", func(t *testing.T) {
			w := start(t, func(o *admission.Options) {
				anchore(t, values, `{"users": [{"username": "somebody", "password": "else"}]}`)(o)
				o.Namespaces = namespaces{"shop": {}}
				o.Resolver = &registryStub{fails: map[string]error{evil: errors.New("away")}}
			})
			want(t, w, creation(labelled(m{"breakglass": "true"})), admission.Allow)
		}},
		{"14 configuration changed under requests", func(t *testing.T) {
			w := start(t, nil) // the race detector looks on
			var group sync.WaitGroup
			group.Go(func() {
				for range 50 {
					if err := w.Reload(options(nil).Config); err != nil {
						t.Error(err)
					}
				}
			})
			group.Go(func() {
				for range 50 {
					want(t, w, creation(pod(evil)), admission.Deny)
				}
			})
			group.Wait()
		}},
		{"15 whoever may label breaks glass, unseen", func(t *testing.T) {
			var log bytes.Buffer
			w := start(t, func(o *admission.Options) {
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
				o.Config.Selectors = []admission.Selector{
					{Match: admission.Match{Type: "resource", Key: "breakglass", Value: "true", Groups: []string{"oncall"}}, Mode: "passive"},
					{Match: admission.Match{Type: "image", Value: ".*"}},
				}
			})
			req := creation(labelled(m{"breakglass": "true"}))
			want(t, w, req, admission.Deny)
			req.UserInfo.Groups = []string{"oncall"}
			res := want(t, w, req, admission.Warn)
			if res.AuditAnnotations["would-be"] == "" && !strings.Contains(res.AuditAnnotations["images"], "passive") {
				t.Errorf("audit: %v", res.AuditAnnotations)
			}
			// With Anchore's own file it is as it was there, and said at every start.
			start(t, func(o *admission.Options) {
				anchore(t, values, "")(o)
				o.Namespaces = namespaces{}
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			if !strings.Contains(log.String(), "turns refusals off") {
				t.Errorf("not warned: %s", log.String())
			}
		}},
		{"16 private images looked up with one account", func(t *testing.T) {
			reg := &registryStub{}
			w := start(t, func(o *admission.Options) {
				o.Resolver, o.PullSecrets = reg, secrets{"shop": {{Host: "docker.io", Username: "of the pod"}}}
			})
			want(t, w, creation(pod("good:1")), admission.Allow)
			if calls := reg.resolved(); len(calls) != 1 || calls[0].credentials.Username != "of the pod" {
				t.Errorf("%v", calls)
			}
		}},
		{"17 nothing to alert on", func(t *testing.T) {
			w := start(t, nil)
			want(t, w, creation(pod(evil)), admission.Deny)
			if text := figures(t, w); !strings.Contains(text, `pratique_admission_requests_total{decision="deny",dry_run="false",endpoint="validate",kind="Pod",operation="CREATE"} 1`) {
				t.Error(text)
			}
		}},
		{"18 replicas go without notice", func(t *testing.T) {
			w, url, bundle, stop := serving(t, time.Now().Add(time.Hour), config(func(c *admission.Config) { c.ShutdownDelay = 300 * time.Millisecond }))
			c := join(t, registration{url: url, bundle: bundle, policy: registrationv1.Fail})
			done := make(chan error, 1)
			go func() { done <- stop() }()
			for begun := time.Now(); w.Ready() == nil && time.Since(begun) < 5*time.Second; {
				time.Sleep(time.Millisecond)
			}
			if _, err := c.validate(change{object: podOf(good)}); err != nil {
				t.Errorf("no answer any more although nobody knows yet: %v", err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}},
		{"19 the API's version", func(t *testing.T) {
			w := start(t, nil)
			res, _ := review(t, w, "/validate", creation(pod(good))) // it checks that v1 is answered
			if res == nil {
				t.Error("no answer to v1")
			}
			rec := post(t, w, "/validate", m{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": m{"uid": "x"}})
			if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "admission.k8s.io/v1") {
				t.Errorf("v1beta1: %d %s", rec.Code, rec.Body)
			}
		}},
		{"20 what people have keeps working", func(t *testing.T) {
			start(t, func(o *admission.Options) { anchore(t, values, credentials)(o); o.Namespaces = namespaces{} })
		}},
	} {
		t.Run(tt.name, tt.test)
	}
}

// figures are what monitoring sees.
func figures(t testing.TB, w *admission.Webhook) string {
	t.Helper()
	rec := get(t, w, "/metrics")
	if rec.Code != http.StatusOK {
		t.Fatal(fmt.Sprint(rec.Code))
	}
	return rec.Body.String()
}
