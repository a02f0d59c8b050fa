package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenIssuer  = "token server of the test"
	tokenService = "registry of the test"
	tokenKeyID   = "test"
)

// TokenServer grants whatever its one account asks for. Others get nothing, or,
// when there is no account, everything.
type TokenServer struct {
	Realm string

	user, password string
	key            *ecdsa.PrivateKey
	jwks           string // file with the public key

	mu       sync.Mutex
	requests []string // queries, in order; guarded by mu
}

// Requests returns the scopes that were asked for so far, a line for each token.
func (s *TokenServer) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func startTokenServer(t *testing.T, o Options, config *tls.Config) *TokenServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, err := key.PublicKey.Bytes() // 4, then x and y
	must(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": tokenKeyID,
		"x": encode(public[1:33]), "y": encode(public[33:]),
	}}})
	must(t, err)
	s := &TokenServer{user: o.BasicUser, password: o.BasicPassword, key: key}
	s.jwks = filepath.Join(t.TempDir(), "jwks.json")
	must(t, os.WriteFile(s.jwks, set, 0o600))
	s.Realm = serve(t, s, config) + "/token"
	return s
}

// ServeHTTP answers the token requests of the distribution specification.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scopes := r.URL.Query()["scope"]
	s.mu.Lock()
	s.requests = append(s.requests, strings.Join(scopes, " "))
	s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	if user != s.user || password != s.password {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`)
		return
	}
	signed, err := s.sign(scopes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": signed, "expires_in": 300}) // a test sees a broken answer
}

func (s *TokenServer) sign(scopes []string) (string, error) {
	var access []map[string]any
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		i := strings.LastIndexByte(rest, ':')
		if i < 0 {
			continue
		}
		access = append(access, map[string]any{"type": kind, "name": rest[:i], "actions": strings.Split(rest[i+1:], ",")})
	}
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": tokenIssuer, "aud": tokenService, "sub": s.user, "jti": rand.Text(), "access": access,
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
	token.Header["kid"] = tokenKeyID
	return token.SignedString(s.key)
}

// newAuthority makes a certificate authority and a server certificate from it,
// and writes the authority to a file.
func newAuthority(t *testing.T) (*tls.Config, string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry of the test"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost", "registry.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}
