package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	audience    = "pratique"
	maxFormSize = 64 << 10 // bytes of a POST to the token service
)

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	// Generation marks the secret that the token was granted for. Empty for
	// anonymous.
	Generation string  `json:"gen,omitempty"`
	Access     []Scope `json:"access"`
}

var (
	// errLogin: a password is needed, and none was given.
	errLogin = errors.New("authentication required: log in with `docker login` first; without it nothing may be had of what was asked for")
	// errScheme: what was sent is no user name and password.
	errScheme = errors.New("the token service takes Basic credentials, or none")
)

// ServeHTTP is the token service: GET as docker and others send it, and the
// OAuth2 form POST that containerd tries first, to fall back to GET on 400, 401,
// 404 and 405, but not on 403.
// https://distribution.github.io/distribution/spec/auth/token/ and /oauth/
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxFormSize)
	// The error is not repeated: it may hold what could not be read.
	if r.ParseForm() != nil {
		refuseForm(w, "invalid_request", "the form cannot be read, or is larger than 64 KiB")
		return
	}
	switch r.Method {
	case http.MethodGet:
		user, password, basic := r.BasicAuth()
		if !basic && r.Header.Get("Authorization") != "" {
			refuseLogin(w, r, errScheme)
			return
		}
		s.answer(w, r, r.Form, credentials{user, password, basic})
	case http.MethodPost:
		s.post(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "the token service answers GET and POST", http.StatusMethodNotAllowed)
	}
}

// credentials are what a client says about itself.
type credentials struct {
	user, password string
	given          bool
}

// post reads the form of OAuth2. Nothing of the address counts: no secret has a
// place there.
func (s *Service) post(w http.ResponseWriter, r *http.Request) {
	form := r.PostForm
	user, password, basic := r.BasicAuth()
	switch form.Get("grant_type") {
	case "password":
		s.answer(w, r, form, credentials{form.Get("username"), form.Get("password"), true})
	case "":
		if !basic {
			refuseForm(w, "invalid_request", "grant_type is missing: send grant_type=password with username and password, or GET for an anonymous token")
			return
		}
		s.answer(w, r, form, credentials{user, password, true})
	default:
		refuseForm(w, "unsupported_grant_type", "grant_type=password is the only one")
	}
}

// answer grants a token, or says why not.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, form url.Values, who credentials) {
	scopes, err := parseScopes(form["scope"])
	if err != nil {
		refuseForm(w, "invalid_scope", err.Error())
		return
	}
	// One state for all of it: a token of who logged in with the old password
	// never bears the mark of the new one.
	now, principal := s.state.Load(), Anonymous
	if who.given {
		if principal, err = s.login(r.Context(), now, attempt{who.user, who.password, remoteIP(r)}); err != nil {
			refuseLogin(w, r, err)
			return
		}
	}
	granted := s.grant(now.rules, principal, scopes)
	if principal == Anonymous && refusedAll(granted) {
		refuseLogin(w, r, errLogin)
		return
	}
	issued := s.Now()
	token, err := s.sign(now.people, principal, granted, issued)
	if err != nil {
		refuseLogin(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token": token, "access_token": token, "expires_in": int(s.ttl.Seconds()), "issued_at": issued.UTC().Format(time.RFC3339), "token_type": "Bearer",
	})
}

func (s *Service) sign(people *directory, principal string, access []Scope, now time.Time) (string, error) {
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: principal, Audience: jwt.ClaimStrings{audience}, Issuer: audience,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.ttl)),
		},
		Access: access,
	}
	if principal != Anonymous {
		stored, ok := people.stored(principal, now)
		if !ok {
			return "", ErrCredentials // ran out since the secret was checked
		}
		c.Generation = s.generation(principal, stored)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.key)
}

// refuseForm answers what is wrong with a form in OAuth2's words.
func refuseForm(w http.ResponseWriter, code, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": text})
}

// refuseLogin answers in the registry's words, which docker shows to the person.
func refuseLogin(w http.ResponseWriter, r *http.Request, err error) {
	var limited *LimitedError
	switch {
	case errors.As(err, &limited):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(limited.RetryAfter.Seconds()))))
		writeErrors(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", err.Error())
	case r.Context().Err() != nil: // nobody waits for the answer
		w.WriteHeader(http.StatusServiceUnavailable)
	case errors.Is(err, ErrCredentials) || errors.Is(err, errLogin) || errors.Is(err, errScheme):
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", audience))
		writeErrors(w, http.StatusUnauthorized, "UNAUTHORIZED", err.Error())
	default:
		writeErrors(w, http.StatusInternalServerError, "UNKNOWN", "the token could not be made")
	}
}

func writeErrors(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": "pratique: " + message}}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away needs no error.
	_ = json.NewEncoder(w).Encode(body)
}

// remoteIP is the address of the client's end of the connection. What headers
// say of others before it is not believed.
func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
