package upstream_test

import (
	"testing"

	"github.com/pratique/pratique/internal/registrytest"
	"github.com/pratique/pratique/internal/upstream"
)

func TestContract(t *testing.T) {
	account := upstream.Credentials{Type: "basic", Username: "u", Password: "secret password"}
	cases := []struct {
		name    string
		options registrytest.Options
		creds   upstream.Credentials
	}{
		{"open", registrytest.Options{}, upstream.Credentials{}},
		{"basic", registrytest.Options{BasicUser: "u", BasicPassword: "secret password"}, account},
		{"token", registrytest.Options{Token: true, BasicUser: "u", BasicPassword: "secret password"}, account},
		{"anonymous token", registrytest.Options{Token: true}, upstream.Credentials{}},
		{"token over TLS", registrytest.Options{Token: true, TLS: true, BasicUser: "u", BasicPassword: "secret password"}, account},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			registrytest.Contract(t, func(t *testing.T) registrytest.Registry {
				s := registrytest.StartDistribution(t, c.options)
				return connect(t, upstream.Config{Name: "test", URL: s.URL, CAFile: s.CAFile, Credentials: c.creds})
			})
		})
	}
}

func connect(t *testing.T, cfg upstream.Config) *upstream.Registry {
	t.Helper()
	r, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
