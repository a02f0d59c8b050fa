package registrytest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // by name in the configuration
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

// Options choose how the registry is protected.
type Options struct {
	BasicUser, BasicPassword string // an account; with Token, at the token server
	Token                    bool   // tokens from a server of its own, else the password is sent to the registry
	TLS                      bool   // a certificate of a private authority, for 127.0.0.1, localhost and registry.test
	Storage                  string // directory; default: one of the test's
}

// Server is a running registry.
type Server struct {
	URL    string // http(s)://127.0.0.1:port
	CAFile string // with TLS: the private authority, PEM
	Tokens *TokenServer
}

// StartDistribution starts distribution's own registry in the process. It ends
// with the test, but for one idle goroutine that the library never ends. Sparse
// indexes, foreign urls and deletion are allowed.
func StartDistribution(t *testing.T, o Options) *Server {
	t.Helper()
	logrus.SetOutput(io.Discard) // the library's process-wide logger
	if o.Storage == "" {
		o.Storage = t.TempDir()
	}
	s := &Server{}
	var tlsConfig *tls.Config
	if o.TLS {
		tlsConfig, s.CAFile = newAuthority(t)
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem":  {"rootdirectory": o.Storage},
			"delete":      {"enabled": true},
			"redirect":    {"disable": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Validation: configuration.Validation{Disabled: true},
	}
	config.Catalog.MaxEntries = 1000 // its default, when read from a file
	config.HTTP.Secret = "shared by nobody"
	switch {
	case o.Token:
		s.Tokens = startTokenServer(t, o, tlsConfig)
		config.Auth = configuration.Auth{"token": {
			"realm": s.Tokens.Realm, "issuer": tokenIssuer, "service": tokenService, "jwks": s.Tokens.jwks,
		}}
	case o.BasicUser != "":
		config.Auth = configuration.Auth{"htpasswd": {"realm": "test", "path": writeAccounts(t, o)}}
	}
	ctx, cancel := context.WithCancel(context.Background())
	app := handlers.NewApp(ctx, config)
	s.URL = serve(t, app, tlsConfig)
	t.Cleanup(func() {
		cancel()
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func writeAccounts(t *testing.T, o Options) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(o.BasicPassword), bcrypt.MinCost)
	must(t, err)
	file := filepath.Join(t.TempDir(), "htpasswd")
	must(t, os.WriteFile(file, []byte(o.BasicUser+":"+string(hash)+"\n"), 0o600))
	return file
}

// serve starts a server on loopback that ends with the test.
func serve(t *testing.T, h http.Handler, config *tls.Config) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if config == nil {
		server.Start()
	} else {
		server.TLS = config.Clone()
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return server.URL
}
