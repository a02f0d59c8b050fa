package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/api"
	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// door is the API in front of a whole gate, and a client of it.
type door struct {
	*gatetest.System
	url string
	t   testing.TB
}

func open(t testing.TB, o gatetest.Options) *door {
	t.Helper()
	return openAPI(t, o, func(*api.API) {})
}

func access(t testing.TB, c auth.Config, loopback bool) *auth.Service {
	t.Helper()
	s, err := auth.New(c, loopback)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openAPI(t testing.TB, o gatetest.Options, change func(*api.API)) *door {
	t.Helper()
	s := gatetest.New(t, o)
	a := &api.API{
		Gate: s.Gate, Catalog: s.Catalog, Metrics: s.Metrics, Version: "1.2.3", RegistryHost: "127.0.0.1:5000",
		OpenLoopback: true, Auth: access(t, auth.Config{}, true), Audit: s.Audit, Collect: s.Collect, Log: s.Log, Now: s.Clock.Now,
		Feeds: func() ([]advisory.FeedStatus, error) {
			return []advisory.FeedStatus{{Source: "osv", Ecosystem: "Alpine", Records: 2, Synced: s.Clock.Now().Add(-time.Hour)}}, nil
		},
	}
	change(a)
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return &door{s, server.URL, t}
}

// store puts content into the embedded registry, as a push would.
func (d *door) store(repository, ref string, im imagetest.Image) {
	d.t.Helper()
	ctx := context.Background()
	for dg, blob := range im.Blobs() {
		state, err := d.Local.StartUpload(ctx, repository)
		d.check(err)
		d.check(d.Local.CommitUpload(ctx, repository, state, 0, dg, bytes.NewReader(blob), int64(len(blob))))
	}
	d.check(d.Local.PutManifest(ctx, repository, ref, image.MediaTypeManifest, im.Manifest))
}

// anybody may ask for anything.
func anybody(gate.Target) error { return nil }

// push stores an image and has it analysed.
func (d *door) push(repository, tag string, im imagetest.Image) {
	d.t.Helper()
	d.store(repository, tag, im)
	_, _, _, err := d.Gate.Find(context.Background(), repository+":"+tag, "127.0.0.1:5000", anybody)
	d.check(err)
}

func (d *door) pushIndex(repository, tag string, x imagetest.Index) {
	d.t.Helper()
	for _, im := range x.Images {
		d.store(repository, im.Digest().String(), im)
	}
	d.check(d.Local.PutManifest(context.Background(), repository, tag, image.MediaTypeIndex, x.Raw))
	_, _, _, err := d.Gate.Find(context.Background(), repository+":"+tag, "", anybody)
	d.check(err)
	for _, im := range x.Images {
		_, _, _, err := d.Gate.Find(context.Background(), repository+"@"+im.Digest().String(), "", anybody)
		d.check(err)
	}
}

func (d *door) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

type reply struct {
	status int
	header http.Header
	body   string
}

// call sends a request; headers are pairs.
func (d *door) call(method, path, body string, headers ...string) reply {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	d.check(err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	d.check(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	d.check(err)
	return reply{res.StatusCode, res.Header, string(raw)}
}

// get reads a JSON answer.
func (d *door) get(path string, out any) {
	d.t.Helper()
	got := d.call("GET", path, "", "Accept", "application/json")
	if got.status != http.StatusOK {
		d.t.Fatalf("GET %s: HTTP %d %s", path, got.status, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), out); err != nil {
		d.t.Fatalf("GET %s: %v in %s", path, err, got.body)
	}
}

func configure(change func(*gate.Config)) *gate.Config {
	c := gate.Defaults()
	change(&c)
	return &c
}

const html = "text/html,application/xhtml+xml"

func TestHealth(t *testing.T) {
	d := open(t, gatetest.Options{})
	for _, c := range []struct {
		name, path string
		status     int
		want       string
	}{
		{"alive", "/healthz", 200, ""},
		{"Anchore's health", "/health", 200, ""},
		{"ready", "/readyz", 200, "ready"},
		{"metrics", "/metrics", 200, "go_goroutines"},
		{"version", "/version", 200, `"api": {}`},
		{"version under v1", "/v1/version", 200, `"version": "1.2.3"`},
		{"no later API", "/v2/version", 404, `"httpcode": 404`},
		{"API document", "/swagger.json", 200, `"0.1.20"`},
		{"root for tools", "/", 200, `"v1"`},
		{"root of v1", "/v1/", 200, `"v1"`},
		{"nothing there", "/v1/nothing", 404, `"message"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := d.call("GET", c.path, "")
			if got.status != c.status || !strings.Contains(got.body, c.want) {
				t.Errorf("HTTP %d %s", got.status, got.body)
			}
			if csp := got.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
				t.Errorf("Content-Security-Policy: %q", csp)
			}
		})
	}
	if got := d.call("DELETE", "/v1/policies", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: HTTP %d", got.status)
	}
}

func TestNotReady(t *testing.T) {
	d := open(t, gatetest.Options{NoData: true})
	got := d.call("GET", "/readyz", "")
	if got.status != 503 || !strings.Contains(got.body, "no vulnerability data") {
		t.Errorf("text: HTTP %d %s", got.status, got.body)
	}
	got = d.call("GET", "/readyz", "", "Accept", "application/json")
	if got.status != 503 || !strings.Contains(got.body, `"ready": false`) {
		t.Errorf("JSON: HTTP %d %s", got.status, got.body)
	}
	var system struct {
		States []struct {
			Name   string `json:"servicename"`
			Status bool   `json:"status"`
			Detail struct {
				Available bool `json:"available"`
			} `json:"service_detail"`
		} `json:"service_states"`
	}
	d.get("/v1/system", &system)
	if len(system.States) != 5 || !system.States[0].Status || system.States[0].Detail.Available {
		t.Errorf("system: %+v", system)
	}
}

func TestAccess(t *testing.T) {
	d := open(t, gatetest.Options{})
	readOnly := openAPI(t, gatetest.Options{}, func(a *api.API) {
		a.OpenLoopback, a.Auth = false, access(t, auth.Config{Anonymous: auth.Pull}, false)
	})
	for _, c := range []struct {
		name    string
		door    *door
		method  string
		headers []string
		status  int
	}{
		{"any password", d, "GET", []string{"Authorization", "Basic YWRtaW46Zm9vYmFy"}, 200},
		{"foreign host", d, "GET", []string{"Host", "evil.example"}, 403},
		{"foreign page", d, "POST", []string{"Origin", "https://evil.example"}, 403},
		{"forwarded", d, "GET", []string{"X-Forwarded-For", "192.0.2.1"}, 403},
		{"reading where all may read", readOnly, "GET", []string{"Host", "pratique.example"}, 200},
		{"writing there", readOnly, "POST", nil, 401},
		{"changing there", readOnly, "PUT", nil, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "/v1/policies"
			if c.method == "PUT" {
				path += "/default"
			}
			if got := c.door.call(c.method, path, "", c.headers...); got.status != c.status {
				t.Errorf("HTTP %d %s, want %d", got.status, got.body, c.status)
			}
		})
	}
}

func TestHostileAddresses(t *testing.T) {
	d := open(t, gatetest.Options{})
	long := strings.Repeat("a", 9000)
	for _, path := range []string{
		"/report/sha256:zz", "/report/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/report/sha512:" + strings.Repeat("0", 128),
		"/report/" + digest.FromString("nothing").String(), "/v1/images/x/check", "/v1/images/..%2f..%2fetc/check",
		"/v1/pratique/check", "/v1/pratique/check?reference=%00", "/v1/pratique/check?reference=../../etc/passwd",
		"/v1/pratique/check?reference=team/app@sha256:zz", "/v1/pratique/check?reference=evil.example/x:1", "/v1/pratique/check?reference=" + long,
		"/v1/pratique/check?reference=%3Cscript%3E", "/v1/pratique/check?reference=unknown/app:1",
		"/v1/events?limit=-1", "/v1/events?limit=99999999999999999999", "/v1/policies/%3Cscript%3E", "/v1/policies/" + long[:3000],
	} {
		for _, accept := range []string{html, "application/json"} {
			got := d.call("GET", path, "", "Accept", accept)
			if got.status < 400 || got.status >= 500 {
				t.Errorf("%s: HTTP %d %s", path[:min(len(path), 80)], got.status, got.body)
			}
			if strings.Contains(got.body, "<script") {
				t.Errorf("%s: the answer has the caller's markup", path)
			}
		}
	}
}

func TestStatusAndEvents(t *testing.T) {
	d := open(t, gatetest.Options{})
	d.push("team/app", "1", imagetest.Clean())
	var status struct {
		Version string
		Ready   bool
		Mode    string
		Policy  struct{ ID string }
		Data    struct {
			Sequence uint64
			Age      *int64 `json:"age_seconds"`
		}
		Feeds []struct {
			Ecosystem string
			Age       int64 `json:"age_seconds"`
		}
		Counts struct{ Images, Repositories int }
	}
	d.get("/v1/pratique/status", &status)
	if status.Version != "1.2.3" || !status.Ready || status.Mode != "policy" || status.Policy.ID != "default" || status.Data.Sequence != 1 || status.Data.Age == nil {
		t.Errorf("status: %+v", status)
	}
	if len(status.Feeds) != 1 || status.Feeds[0].Age < 3599 || status.Counts.Images != 1 || status.Counts.Repositories != 1 {
		t.Errorf("status: %+v", status)
	}
	var events struct{ Events []struct{ Kind string } }
	d.get("/v1/events", &events)
	if len(events.Events) != 1 || events.Events[0].Kind != gate.EventActivated {
		t.Errorf("events: %+v", events)
	}
	var feeds []struct {
		Name   string
		Groups []struct {
			Name    string
			Records int `json:"record_count"`
		}
	}
	d.get("/v1/system/feeds", &feeds)
	if len(feeds) != 1 || feeds[0].Name != "vulnerabilities" || feeds[0].Groups[0].Records != 2 {
		t.Errorf("feeds: %+v", feeds)
	}
}
