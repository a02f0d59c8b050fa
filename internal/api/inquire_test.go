package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

func TestStanding(t *testing.T) {
	d := open(t, gatetest.Options{})
	bad, unseen := imagetest.Vulnerable(), imagetest.Clean()
	d.push("team/app", "1", bad)
	d.store("team/app", "2", unseen)
	ask := func(query string, i gate.Inquiry) gate.Standing {
		t.Helper()
		raw, err := json.Marshal(i)
		d.check(err)
		got := d.call(http.MethodPost, "/v1/pratique/standing"+query, string(raw))
		if got.status != http.StatusOK {
			t.Fatalf("HTTP %d %s", got.status, got.body)
		}
		var s gate.Standing
		d.check(json.Unmarshal([]byte(got.body), &s))
		return s
	}
	known := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:1", Digest: bad.Digest()}
	if got := ask("", known); got.State != gate.StateFail || !strings.Contains(got.Message, "CVE-2025-15467") {
		t.Errorf("%+v", got)
	}
	later := gate.Inquiry{Reference: "127.0.0.1:5000/team/app:2", Digest: unseen.Digest()}
	if got := ask("", later); got.State != gate.StateUnknown {
		t.Errorf("%+v", got)
	}
	deadline := time.Now().Add(10 * time.Second)
	for ask("?want=true", later).State != gate.StatePass {
		if time.Now().After(deadline) {
			t.Fatal("the wanted image was not analysed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := d.call(http.MethodPost, "/v1/pratique/standing", `{"reference": "app", "digest": "sha256:1"}`); got.status != http.StatusBadRequest {
		t.Errorf("a wrong digest is answered %d %s", got.status, got.body)
	}
}
