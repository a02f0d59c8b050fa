package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/engine/policy"
)

const (
	defaultURL = "http://127.0.0.1:8228"
	maxAnswer  = 64 << 20 // bytes
	// A check may hold a request for the first analysis of an image.
	answerTimeout = 3 * time.Minute
)

// client talks to the API of a running pratique.
type client struct {
	url    string
	format string
}

// flags adds what every command that talks to the API takes.
func (c *client) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.url, "url", "", "address of a running pratique (also PRATIQUE_URL, ANCHORE_CLI_URL; default "+defaultURL+")")
	cmd.PersistentFlags().StringVar(&c.format, "format", "table", "table or json")
}

// base is the address to talk to, without a slash at its end.
func (c *client) base() (string, error) {
	text := defaultURL
	switch {
	case c.url != "":
		text = c.url
	case os.Getenv("PRATIQUE_URL") != "":
		text = os.Getenv("PRATIQUE_URL")
	case os.Getenv("ANCHORE_CLI_URL") != "":
		text = os.Getenv("ANCHORE_CLI_URL")
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("the address %q is none that pratique could answer at: want http://HOST:PORT or https://HOST:PORT", text)
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1"), nil
}

// answerError is what the API says when it refuses.
type answerError struct {
	Status  int
	Message string `json:"message"`
	Detail  struct {
		Problems []policy.Problem `json:"validation_details"`
	} `json:"detail"`
}

// Error says what is wrong, and what to do where that is known.
func (e *answerError) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return e.Message + " (set ANCHORE_CLI_USER and ANCHORE_CLI_PASS)"
	case e.Message == "":
		return fmt.Sprintf("the answer is HTTP %d and says no more: is this the API of a pratique?", e.Status)
	}
	return e.Message
}

// do sends a request and reads the answer into out.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body []byte, out any) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := newRequest(ctx, method, base+path+"?"+query.Encode(), body)
	if err != nil {
		return fmt.Errorf("ask %s: %w", base, err)
	}
	// Credentials go where they were meant to go: redirects are not followed.
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := direct.Do(req)
	if err != nil {
		return unreachable(ctx, base, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	if answer.StatusCode != http.StatusOK {
		refused := &answerError{}
		_ = json.Unmarshal(raw, refused) // what is no JSON has no message, and Error says so
		refused.Status = answer.StatusCode
		return refused
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("what answers at %s is no pratique: name another with --url", base)
	}
	return nil
}

// list gets what is at a path and prints it: as it is, or read into something and
// shown.
func (c *client) list(ctx context.Context, w io.Writer, path string, query url.Values, into any, show func() error) error {
	var raw json.RawMessage
	if err := c.do(ctx, http.MethodGet, path, query, nil, &raw); err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(w, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the answer at %s is not understood, is it of another version?: %w", path, err)
	}
	return show()
}

func newRequest(ctx context.Context, method, address string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "pratique")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if user := os.Getenv("ANCHORE_CLI_USER"); user != "" {
		req.SetBasicAuth(user, os.Getenv("ANCHORE_CLI_PASS"))
	}
	return req, nil
}

func unreachable(ctx context.Context, base string, err error) error {
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("pratique at %s did not answer within %s: ask again, or look at its log", base, answerTimeout)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("no pratique answers at %s (%w): start one with `pratique serve`, or name another with --url", base, err)
}
