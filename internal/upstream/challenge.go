package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const maxChallenge = 8 << 10 // bytes of one WWW-Authenticate header that are read

// challenge is how a registry wants requests authorised.
type challenge struct {
	scheme string            // lower case: basic, bearer, ...
	params map[string]string // keys in lower case
}

// parseChallenges reads WWW-Authenticate headers (RFC 9110, 11.6.1). Several
// challenges may share a header. What cannot be read ends the header it is in.
func parseChallenges(headers []string) []challenge {
	var all []challenge
	for _, h := range headers {
		s := scanner{h[:min(len(h), maxChallenge)]}
		for s.skip(" \t,"); s.rest != ""; s.skip(" \t,") {
			word := s.token()
			if word == "" {
				break
			}
			s.skip(" \t")
			if !strings.HasPrefix(s.rest, "=") {
				all = append(all, challenge{strings.ToLower(word), map[string]string{}})
				continue
			}
			if len(all) == 0 {
				break // a parameter of nothing
			}
			s.rest = s.rest[1:]
			s.skip(" \t")
			value, ok := s.value()
			if !ok {
				break
			}
			all[len(all)-1].params[strings.ToLower(word)] = value
		}
	}
	return all
}

type scanner struct{ rest string }

func (s *scanner) skip(chars string) { s.rest = strings.TrimLeft(s.rest, chars) }

func (s *scanner) token() string {
	end := strings.IndexAny(s.rest, " \t,=\"")
	if end < 0 {
		end = len(s.rest)
	}
	word := s.rest[:end]
	s.rest = s.rest[end:]
	return word
}

// value reads a token or a quoted string.
func (s *scanner) value() (string, bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		return s.token(), true
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i == len(s.rest) {
				return "", false
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// Challenge is how an answer wants requests authorised: the scheme in lower case,
// "" for none that is known, and its parameters.
func Challenge(h http.Header) (scheme string, params map[string]string) {
	c, _ := choose(h)
	return c.scheme, c.params
}

// choose picks the challenge to answer: a token before a password, as what is
// shown to the registry is then worth less.
func choose(h http.Header) (challenge, bool) {
	all := parseChallenges(h.Values("WWW-Authenticate"))
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range all {
			if c.scheme == scheme && (scheme == "basic" || c.params["realm"] != "") {
				return c, true
			}
		}
	}
	return challenge{}, false
}

// parseRealm reads the address of a token server and decides whether the
// credentials may go there: over https; or in the clear when the registry itself
// is spoken to in the clear, and then to its own host, or on this machine.
func parseRealm(base *url.URL, realm string) (*url.URL, error) {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("token realm is not an address")
	}
	inClear := base.Scheme == "http" && u.Scheme == "http" &&
		(strings.EqualFold(u.Hostname(), base.Hostname()) || isLoopback(base.Hostname()) && isLoopback(u.Hostname()))
	if u.Scheme != "https" && !inClear {
		return nil, fmt.Errorf("%w: token realm %s://%s is neither https nor on the registry's host", errForbidden, u.Scheme, u.Host)
	}
	u.Fragment = ""
	return u, nil
}
