package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/google/go-containerregistry/pkg/authn"
)

// ErrIdentityToken: the login for a registry is of a kind that is not
// understood here.
var ErrIdentityToken = errors.New("the stored login is an identity token, which is not supported: log in with a password or access token")

// ForHost returns the configuration for a registry that a person named, with
// the credentials that docker login or podman login left for it. Registries on
// loopback are spoken to in the clear.
func ForHost(ctx context.Context, host string) (Config, error) {
	c := Config{Name: "registry", URL: "https://" + host}
	switch name, _, err := net.SplitHostPort(host); {
	case host == "docker.io":
		c.URL = "https://registry-1.docker.io"
	case host == "localhost" || (err == nil && isLoopback(name)):
		c.URL = "http://" + host
	}
	a, err := authn.Resolve(ctx, authn.DefaultKeychain, resource(host))
	if err != nil {
		return Config{}, fmt.Errorf("find the login for %s: %w", host, err)
	}
	login, err := authn.Authorization(ctx, a)
	if err != nil {
		return Config{}, fmt.Errorf("find the login for %s: %w", host, err)
	}
	switch {
	case login.IdentityToken != "" || login.RegistryToken != "":
		return Config{}, fmt.Errorf("find the login for %s: %w", host, ErrIdentityToken)
	case login.Username != "":
		c.Credentials = Credentials{Type: "basic", Username: login.Username, Password: login.Password}
	}
	return c, nil
}

// resource is a registry host as keychains want it; Docker Hub's logins are
// kept under an older name.
type resource string

func (r resource) RegistryStr() string {
	if r == "docker.io" {
		return authn.DefaultAuthKey
	}
	return string(r)
}

func (r resource) String() string { return r.RegistryStr() }
