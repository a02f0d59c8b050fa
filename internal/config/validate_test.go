package config_test

import (
	"testing"

	"github.com/pratique/pratique/internal/config"
)

// TestValidate: what is wrong is said under the name that the setting has.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		set  []string
		want string // "": good
	}{
		{"data folder", []string{"data_dir="}, "data_dir: missing"},
		{"listen", []string{"registry.listen=5000"}, `registry.listen: "5000" is not host:port`},
		{"listen of the API", []string{"api.listen=localhost"}, `api.listen: "localhost" is not host:port`},
		{"certificate without key", []string{"api.tls.cert=/etc/a.pem"}, "api.tls: cert and key go together"},
		{"mode", []string{"gate.mode=loud"}, `gate.mode: "loud" is none of policy, analysis, passive`},
		{"push", []string{"gate.push=hold"}, `gate.push: "hold" is none of observe, enforce, quarantine`},
		{"on_gap", []string{"gate.on_gap="}, `gate.on_gap: "" is none of deny, allow`},
		{"wait", []string{"gate.wait=0s"}, "gate.wait: must be longer than nothing"},
		{"rule without match", []string{"gate.rules=[{mode: passive}]"}, "gate.rules[0].match.repository: missing"},
		{"rule with a bad value", []string{"gate.rules=[{match: {repository: a}, unmapped: maybe}]"}, `gate.rules[0].unmapped: "maybe" is none of`},
		{"rule that changes one setting", []string{"gate.rules=[{match: {repository: 'docker.io/*'}, push: enforce}]"}, ""},
		{"policy", []string{"policy.active="}, "policy.active: missing"},
		{"level", []string{"log.level=loud"}, `log.level: "loud" is none of debug, info, warn, error`},
		{"format", []string{"log.format=xml"}, `log.format: "xml" is neither text nor json`},
		{"feeds, too often", []string{"feeds.interval=1s"}, "shorter than 1m"},
		{"feeds in the clear", []string{`feeds.sources=[{name: osv, url: "http://mirror.example/osv"}]`}, "http is for loopback hosts alone"},
		{"redis elsewhere without key", []string{"redis.url=redis://redis.example:6379"}, "redis.hmac_key_file: required"},
		{"redis elsewhere with key", []string{"redis.url=rediss://redis.example:6379", "redis.hmac_key_file=/etc/hmac"}, ""},
		{"redis", []string{"redis.url=http://x"}, "redis.url: not a redis://"},
		{"token life", []string{"auth.token.ttl=1s"}, "auth.token.ttl: at least 1m"},
		{"anonymous", []string{"auth.anonymous=everything"}, `auth.anonymous: "everything" is none of none, pull, push`},
		{"everybody's address, nothing said", []string{"registry.listen=0.0.0.0:5000"}, "nobody could use the registry"},
		{"API at everybody's address, nothing said", []string{"api.listen=:8228"}, "nobody could use the registry"},
		{"everybody's address, said in so many words", []string{"registry.listen=0.0.0.0:5000", "auth.anonymous=pull"}, ""},
		{"nobody at all", []string{"auth.anonymous=none"}, "nobody could use the registry"},
		{"no upstream", []string{"upstreams=[]"}, "upstreams: at least one"},
		{"two embedded", []string{"upstreams=[{name: a, embedded: true, default: true}, {name: b, embedded: true, prefix: b.example}]"}, "at most one embedded"},
		{"embedded with address", []string{`upstreams=[{name: a, embedded: true, default: true, url: "https://a.example"}]`}, "upstreams[0]: an embedded upstream has no url"},
		{"nothing leads there", []string{`upstreams=[{name: a, url: "https://a.example"}]`}, `"a" has no prefix and is not the default`},
		{"prefix twice", []string{`upstreams=[{name: a, prefix: a.example, url: "https://a.example"}, {name: b, prefix: a.example, url: "https://b.example"}]`}, `prefix "a.example" is there twice`},
		{"prefix that is no host", []string{`upstreams=[{name: a, prefix: mirror, url: "https://a.example"}]`}, `prefix "mirror"`},
		{"password in the address", []string{`upstreams=[{name: a, prefix: a.example, url: "https://u:p@a.example"}]`}, "put user and password under credentials"},
		{"password in the clear", []string{`upstreams=[{name: a, prefix: a.example, url: "http://a.example", credentials: {type: basic, username: u, password_file: /p}}]`}, "credentials are not sent over http://"},
		{"two problems are told at once", []string{"gate.mode=loud", "log.format=xml"}, "log.format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Load(config.Source{Set: c.set})
			if c.want != "" {
				wantError(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLocalHostnames(t *testing.T) {
	c, err := config.Load(config.Source{Set: []string{"upstreams=[{name: local, embedded: true, default: true, hostnames: [registry.example]}]"}})
	if err != nil {
		t.Fatal(err)
	}
	got := c.LocalHostnames("0.0.0.0:5000")
	for i, want := range []string{"127.0.0.1:5000", "localhost:5000", "registry.example"} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("%q, want %q at %d", got, want, i)
		}
	}
}
