package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// Limits of what is read of one Docker configuration.
const (
	maxDockerConfig = 1 << 20 // bytes; a Secret cannot hold more
	maxLogins       = 1000
	maxLoginField   = 64 << 10 // bytes of a user name or password
)

// Credential is an account at a registry.
type Credential struct {
	Username string
	Password string
}

// String keeps the password out of logs.
func (c Credential) String() string { return "credentials of " + c.Username }

// GoString keeps the password out of %#v.
func (c Credential) GoString() string { return c.String() }

// login is a credential and what images it is for.
type login struct {
	host string // with port; a label may be a pattern ("*.example.com")
	path string // "" or "/..."; the first letters of the repository's
	Credential
}

// place is how logins are ordered: the longer of two that begin alike is first.
func (l login) place() string { return l.host + l.path }

// dockerEntry is what the file says of one registry. Tokens of kinds that the
// kubelet does not use (identitytoken, registrytoken) are not used here either.
type dockerEntry struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth"` // base64 of user:password; goes before the two others
}

// parseDockerConfigJSON reads the data of a Secret of type dockerconfigjson.
func parseDockerConfigJSON(raw []byte) ([]login, error) {
	var file struct {
		Auths map[string]dockerEntry `json:"auths"`
	}
	if err := decodeDocker(raw, &file); err != nil {
		return nil, err
	}
	return logins(file.Auths)
}

// parseDockerCfg reads the data of a Secret of type dockercfg, the older form.
func parseDockerCfg(raw []byte) ([]login, error) {
	var file map[string]dockerEntry
	if err := decodeDocker(raw, &file); err != nil {
		return nil, err
	}
	return logins(file)
}

// decodeDocker reads JSON. Its errors never repeat what was read.
func decodeDocker(raw []byte, into any) error {
	if len(raw) > maxDockerConfig {
		return fmt.Errorf("larger than %d bytes", maxDockerConfig)
	}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(into); err != nil {
		return errors.New("is not JSON of the form wanted")
	}
	return nil
}

// logins reads all entries. One that makes no sense spoils the file, as it does
// for the kubelet; one without a user is none.
func logins(entries map[string]dockerEntry) ([]login, error) {
	if len(entries) > maxLogins {
		return nil, fmt.Errorf("has more than %d registries", maxLogins)
	}
	var all []login
	for location, e := range entries {
		c, err := e.credential()
		if err != nil {
			return nil, fmt.Errorf("registry %q: %w", location, err)
		}
		if c.Username == "" {
			continue
		}
		l := login{Credential: c}
		if l.host, l.path, err = splitLocation(location); err != nil {
			continue // it can match nothing; the kubelet passes over it too
		}
		all = append(all, l)
	}
	return all, nil
}

func (e dockerEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password}
	if e.Auth != "" {
		var err error
		if c, err = decodeAuth(e.Auth); err != nil {
			return Credential{}, err
		}
	}
	if len(c.Username) > maxLoginField || len(c.Password) > maxLoginField {
		return Credential{}, fmt.Errorf("user name or password has more than %d bytes", maxLoginField)
	}
	return c, nil
}

// decodeAuth reads base64, with or without its padding, of user:password.
func decodeAuth(auth string) (Credential, error) {
	auth = strings.TrimSpace(auth)
	encoding := base64.StdEncoding
	if !strings.HasSuffix(auth, "=") {
		encoding = base64.RawStdEncoding
	}
	raw, err := encoding.DecodeString(auth)
	if err != nil {
		return Credential{}, errors.New("auth is not base64")
	}
	username, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return Credential{}, errors.New("auth is not user:password")
	}
	return Credential{username, strings.Trim(password, "\x00")}, nil
}

// splitLocation reads the name of a registry in a Docker configuration: a host,
// with or without a scheme and a path. /v1/ and /v2/ say nothing.
func splitLocation(location string) (host, prefix string, err error) {
	if !strings.HasPrefix(location, "https://") && !strings.HasPrefix(location, "http://") {
		location = "https://" + location
	}
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "", "", errors.New("not a registry")
	}
	prefix = u.Path
	if strings.HasPrefix(prefix, "/v1/") || strings.HasPrefix(prefix, "/v2/") {
		prefix = prefix[len("/v1"):]
	}
	if prefix == "/" {
		prefix = ""
	}
	return u.Host, prefix, nil
}

// hub is the name under which Docker keeps logins for Docker Hub.
const hub = "index.docker.io"

// matching returns the credentials for an image, as the kubelet finds them: of
// every login that matches host and path, the most specific first; for Docker
// Hub, where none does, of those kept under its older name.
// https://kubernetes.io/docs/concepts/containers/images/#config-json
func matching(all []login, ref image.Reference) []Credential {
	sorted := slices.Clone(all)
	// Those of one place stay in the order of their Secrets.
	slices.SortStableFunc(sorted, func(a, b login) int { return strings.Compare(b.place(), a.place()) })
	pick := func(match func(login) bool) (found []Credential) {
		for _, l := range sorted {
			if match(l) && !slices.Contains(found, l.Credential) {
				found = append(found, l.Credential)
			}
		}
		return found
	}
	found := pick(func(l login) bool {
		return hostMatches(l.host, ref.Registry) && strings.HasPrefix("/"+ref.Repository, l.path)
	})
	if found == nil && ref.Registry == "docker.io" {
		found = pick(func(l login) bool { return l.host == hub && l.path == "" })
	}
	return found
}

// hostMatches compares label by label, so that a pattern never spans a dot. The
// ports must be the same.
func hostMatches(pattern, host string) bool {
	wantLabels, wantPort := splitHost(pattern)
	labels, port := splitHost(host)
	if wantPort != port || len(wantLabels) != len(labels) {
		return false
	}
	for i, want := range wantLabels {
		if ok, err := path.Match(want, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func splitHost(s string) (labels []string, port string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, ""
	}
	return strings.Split(host, "."), port
}
