package doctor_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/internal/doctor"
)

// door is something that answers where a proxy should. It counts passwords.
type door struct {
	*httptest.Server
	passwords atomic.Int32
}

func newDoor(t *testing.T, tls bool, answer http.HandlerFunc) *door {
	t.Helper()
	d := new(door)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			d.passwords.Add(1)
		}
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		answer(w, r)
	})
	if d.Server = httptest.NewUnstartedServer(handler); tls {
		d.StartTLS()
	} else {
		d.Start()
	}
	t.Cleanup(d.Close)
	return d
}

// options are what a door is examined with: nothing of the node.
func (d *door) options() doctor.Options {
	return doctor.Options{Proxy: d.URL, Timeout: 2 * time.Second, Now: time.Now, Namespace: "default"}
}

func run(t *testing.T, o doctor.Options) *doctor.Report {
	t.Helper()
	report, err := doctor.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// expect fails unless a check ended so, with these words in what was seen or in what is
// to do.
func expect(t *testing.T, r *doctor.Report, name string, result doctor.Result, words ...string) {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name != name {
			continue
		}
		for _, word := range words {
			if !strings.Contains(c.Detail+" "+c.Next, word) {
				t.Errorf("%s does not say %q:\n%s", name, word, told(r))
			}
		}
		if c.Result != result {
			t.Errorf("%s: want %s\n%s", name, result, told(r))
		}
		return
	}
	t.Errorf("no check %s\n%s", name, told(r))
}

func empty(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }

func TestUnreachable(t *testing.T) {
	tlsDoor, plain := newDoor(t, true, empty), newDoor(t, false, empty)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsDoor.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(o *doctor.Options)
		check  string
		result doctor.Result
		words  []string
	}{
		{"authority not trusted", func(o *doctor.Options) {}, "proxy answers", doctor.Failed, []string{"unknown authority", "--ca"}},
		{"authority named", func(o *doctor.Options) { o.CAFile = ca }, "certificate", doctor.OK, []string{"good until"}},
		{"not verified", func(o *doctor.Options) { o.Insecure = true }, "certificate", doctor.NotChecked, []string{"--insecure"}},
		{"another name", func(o *doctor.Options) {
			o.CAFile, o.Proxy = ca, strings.Replace(o.Proxy, "127.0.0.1", "localhost", 1)
		}, "proxy answers", doctor.Failed, []string{"a name that the certificate has"}},
		{"no TLS", func(o *doctor.Options) { o.Proxy = strings.Replace(plain.URL, "http:", "https:", 1) }, "proxy answers", doctor.Failed, []string{"does not speak TLS", "http://"}},
		{"nobody", func(o *doctor.Options) { o.Proxy = "http://127.0.0.1:1" }, "proxy answers", doctor.Failed, []string{"refused", "pratique serve"}},
		{"clock", func(o *doctor.Options) {
			o.Proxy, o.Now = plain.URL, func() time.Time { return time.Now().Add(3 * time.Minute) }
		}, "clock", doctor.Failed, []string{"differ by 3m", "NTP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := tlsDoor.options()
			c.change(&o)
			expect(t, run(t, o), c.check, c.result, c.words...)
		})
	}
}

func TestOthersThanProxies(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(page.Close)
	moved := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/v2/", http.StatusMovedPermanently)
	})
	hung := newDoor(t, false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for url, word := range map[string]string{page.URL: "is no registry", moved.URL: "elsewhere.example", hung.URL: "no answer in time"} {
		o := moved.options()
		o.Proxy, o.Timeout, o.BadImage = url, 300*time.Millisecond, "team/bad:1"
		report := run(t, o)
		expect(t, report, "proxy answers", doctor.Failed, word)
		if report.Count(doctor.NotChecked) != 1 { // the image
			t.Errorf("what could not be asked is not a gap:\n%s", told(report))
		}
	}
}

// TestLogIn: the password goes to the token service of the proxy's own host alone.
func TestLogIn(t *testing.T) {
	service := func(realm func(own string) string, status int) *door {
		var d *door
		d = newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/auth/token" && status == http.StatusOK:
				fmt.Fprint(w, `{"token": "t"}`)
			case r.URL.Path == "/auth/token":
				w.WriteHeader(status)
			case r.Header.Get("Authorization") == "Bearer t":
				fmt.Fprint(w, "{}")
			default:
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="pratique"`, realm(d.URL)))
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		return d
	}
	own := func(own string) string { return own + "/auth/token" }
	thief := newDoor(t, false, empty)
	elsewhere := func(string) string { return strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) + "/auth/token" }
	for _, c := range []struct {
		name     string
		door     *door
		user     string
		result   doctor.Result
		word     string
		password bool // is shown to the door
	}{
		{"nobody", service(own, http.StatusOK), "", doctor.OK, "anonymous", false},
		{"nobody, where that is not enough", service(own, http.StatusUnauthorized), "", doctor.NotChecked, "--user", false},
		{"somebody", service(own, http.StatusOK), "robot+node", doctor.OK, "robot+node", true},
		{"a wrong password", service(own, http.StatusUnauthorized), "robot+node", doctor.Failed, "does not take", true},
		{"a realm elsewhere", service(elsewhere, http.StatusOK), "robot+node", doctor.Failed, "auth.token.realm", false},
		{"no realm", service(func(string) string { return "" }, http.StatusOK), "", doctor.Failed, "without a challenge", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.door.options()
			o.Username, o.Password = c.user, "secret"
			expect(t, run(t, o), "log in", c.result, c.word)
			if got := c.door.passwords.Load() > 0; got != c.password {
				t.Errorf("the password was shown to the door: %t", got)
			}
		})
	}
	if thief.passwords.Load() > 0 {
		t.Error("the password was shown to another host")
	}
}

const evil = "sha256:0af1000000000000000000000000000000000000000000000000000000000000"

// TestBadImage: what answers to a request for a refused image come to.
func TestBadImage(t *testing.T) {
	refused := `{"errors": [{"code": "DENIED", "message": "pratique: refused by policy \"default\": 1 critical vulnerability"}]}`
	layered := `{"config": {"digest": "` + evil + `"}, "layers": [{"digest": "` + evil + `"}]}`
	for _, c := range []struct {
		name          string
		status        int
		warning, body string
		result        doctor.Result
		word          string
	}{
		{"refused", 403, "", refused, doctor.OK, "1 critical vulnerability"},
		{"another code", 403, "", strings.Replace(refused, "DENIED", "UNKNOWN", 1), doctor.NotChecked, "for another reason"},
		{"no data", 403, "", `{"errors": [{"code": "DENIED", "message": "pratique: team/bad:1 cannot be judged: no vulnerability data"}]}`, doctor.NotChecked, "not by policy"},
		{"no right", 403, "", `{"errors": [{"code": "DENIED", "message": "pratique: bob has no right to pull team/bad"}]}`, doctor.NotChecked, "not by policy"},
		{"another registry's refusal", 403, "", `{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}`, doctor.NotChecked, "requested access"},
		{"a page", 403, "", "<html>", doctor.NotChecked, "HTTP 403"},
		{"served", 200, "", layered, doctor.Failed, "THE IMAGE CAN BE PULLED"},
		{"served with a warning", 200, `299 - "pratique: refused by policy \"default\", and let through"`, layered, doctor.Failed, "gate.mode"},
		{"an index, shown to a pusher", 200, `299 - "pratique: pulls are refused: policy"`, `{"manifests": []}`, doctor.NotChecked, "pull alone"},
		{"shown to a pusher", 200, `299 - "pratique: pulls are refused: policy"`, layered, doctor.OK, "pull alone"},
		{"not there", 404, "", `{"errors": [{"code": "MANIFEST_UNKNOWN"}]}`, doctor.NotChecked, "not found"},
		{"not yet", 429, "", `{"errors": [{"code": "TOOMANYREQUESTS", "message": "pratique: pending"}]}`, doctor.NotChecked, "in a moment"},
		{"broken", 502, "", "", doctor.NotChecked, "HTTP 502"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.Contains(r.URL.Path, "/blobs/"):
					w.WriteHeader(http.StatusForbidden)
				case strings.Contains(r.URL.Path, "/manifests/"):
					w.Header().Set("Warning", c.warning)
					w.WriteHeader(c.status)
					fmt.Fprint(w, c.body)
				}
			})
			o := d.options()
			o.BadImage = "team/bad:1"
			expect(t, run(t, o), "bad image by tag", c.result, c.word)
		})
	}
}

// TestPending: an image that is being analysed is waited for.
func TestPending(t *testing.T) {
	var asked atomic.Int32
	d := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		w.Header().Set("Docker-Content-Digest", evil)
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors": [{"code": "DENIED", "message": "pratique: refused by policy"}]}`)
	})
	o := d.options()
	o.Timeout, o.BadImage = 10*time.Second, strings.TrimPrefix(d.URL, "http://")+"/team/bad:1"
	report := run(t, o)
	for _, by := range []string{"tag", "digest", "HEAD"} {
		expect(t, report, "bad image by "+by, doctor.OK)
	}
}

// TestTombstone: a manifest that stands for a refusal is followed to it.
func TestTombstone(t *testing.T) {
	stone := `{"artifactType": "application/vnd.pratique.refusal.v1+json"}`
	for name, refusesStone := range map[string]bool{"refused": true, "served": false} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, false, func(w http.ResponseWriter, r *http.Request) {
				_, reference, ok := strings.Cut(r.URL.Path, "/manifests/")
				if !ok {
					return
				}
				w.Header().Set("Docker-Content-Digest", digest.FromString(stone).String())
				if reference == "1" || !refusesStone {
					fmt.Fprint(w, stone)
					return
				}
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"errors": [{"code": "DENIED", "message": "pratique: refused by policy"}]}`)
			})
			o := d.options()
			o.BadImage = "team/bad:1"
			want := map[bool]doctor.Result{true: doctor.OK, false: doctor.Failed}[refusesStone]
			expect(t, run(t, o), "bad image by tag, tombstone", want)
		})
	}
}

func TestOptions(t *testing.T) {
	for word, change := range map[string]func(o *doctor.Options){
		"the proxy's address":    func(o *doctor.Options) { o.Proxy = "pratique.example:5000" },
		"is no registry's host":  func(o *doctor.Options) { o.Registries = []string{"docker.io/library"} },
		"invalid image":          func(o *doctor.Options) { o.BadImage = "Team/Bad:1" },
		"is no repository":       func(o *doctor.Options) { o.TestRepository = "team:1" },
		"want auto":              func(o *doctor.Options) { o.BadImage, o.Runtime = "team/bad:1", "lxc" },
		"name an image":          func(o *doctor.Options) { o.Runtime = "auto" },
		"read authorities":       func(o *doctor.Options) { o.CAFile = "testdata/none.pem" },
		"no certificate in":      func(o *doctor.Options) { o.CAFile = "proxy_test.go" },
		"timeout has to be more": func(o *doctor.Options) { o.Timeout = 0 },
	} {
		o := doctor.Options{Proxy: proxy, Timeout: time.Second, Now: time.Now}
		change(&o)
		if _, err := doctor.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("want %q, got %v", word, err)
		}
	}
}
