package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/policy"
)

func newCheckCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "check REFERENCE", Short: "Ask a running pratique whether an image passes, and why not", Args: cobra.ExactArgs(1),
		Long: `Ask a running pratique whether an image passes, and why not.

REFERENCE is a name as it is pulled, with or without the proxy's own host, by tag
or digest. What was never seen is fetched and analysed now. Of an image for
several platforms, every one must pass.

Exit code 0: passed. 1: refused. 2: it could not be found out.`,
		Example: `  pratique check 127.0.0.1:5000/team/app:1.0
  pratique check docker.io/library/nginx:1.27 --format json
  pratique check team/app@sha256:... --url https://pratique.example:8228`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(c.format); err != nil {
				return err
			}
			return c.check(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	c.flags(cmd)
	return cmd
}

// checkResult is what the API answers to a check, as far as it is printed.
type checkResult struct {
	Reference string        `json:"reference"`
	Digest    string        `json:"digest"`
	Allowed   bool          `json:"allowed"`
	Outcome   string        `json:"outcome"`
	Action    policy.Action `json:"action"`
	Message   string        `json:"message"`
	Warning   string        `json:"warning"`
	Mode      string        `json:"mode"`
	Policy    *struct {
		Name    string `json:"name"`
		Mapping string `json:"mapping"`
	} `json:"policy"`
	Reasons   []policy.Row    `json:"reasons"`
	Gaps      []inventory.Gap `json:"gaps"`
	Platforms []struct {
		Platform string `json:"platform"`
		Digest   string `json:"digest"`
		Outcome  string `json:"outcome"`
	} `json:"platforms"`
	Report string `json:"report"`
}

func (c *client) check(ctx context.Context, w io.Writer, reference string) error {
	var raw json.RawMessage
	if err := c.do(ctx, http.MethodGet, "/v1/pratique/check", url.Values{"reference": {reference}}, nil, &raw); err != nil {
		return err
	}
	var res checkResult
	if err := json.Unmarshal(raw, &res); err != nil || res.Outcome == "" {
		return fmt.Errorf("the answer is no verdict: is this the API of a pratique?")
	}
	show := func() error { return res.print(w) }
	if c.format == "json" {
		show = func() error { return printJSON(w, raw) }
	}
	if err := show(); err != nil {
		return err
	}
	switch {
	case res.Outcome == "pending":
		return &exitError{Code: exitFailed, Err: fmt.Errorf("there is no verdict yet: ask again in a moment")}
	case !res.Allowed:
		return &exitError{Code: exitStop}
	}
	return nil
}

func (r *checkResult) print(w io.Writer) error {
	facts := [][]string{{"Image", r.Reference}, {"Digest", r.Digest}}
	for _, p := range r.Platforms {
		if len(r.Platforms) == 1 {
			facts = append(facts, []string{"Platform", p.Platform})
		} else {
			facts = append(facts, []string{"Platform", fmt.Sprintf("%s  %s  %s", cmp.Or(p.Platform, "-"), p.Outcome, p.Digest)})
		}
	}
	if r.Policy != nil {
		facts = append(facts, []string{"Policy", fmt.Sprintf("%s (mapping: %s)", r.Policy.Name, cmp.Or(r.Policy.Mapping, "none matches"))})
	}
	facts = append(facts, []string{"Gate mode", r.Mode}, []string{"Report", r.Report}, []string{"Verdict", strings.ToUpper(r.Outcome)})
	if err := table(w, nil, facts); err != nil {
		return err
	}
	for _, text := range []string{r.Message, r.Warning} {
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", printable(text)); err != nil {
			return err
		}
	}
	return r.printReasons(w)
}

func (r *checkResult) printReasons(w io.Writer) error {
	var vulnerable, other [][]string
	for _, row := range r.Reasons {
		action := strings.ToUpper(row.Action.String())
		if row.CVE == "" {
			other = append(other, []string{action, row.Gate + ": " + row.Trigger, row.Message})
			continue
		}
		vulnerable = append(vulnerable, []string{action, strings.ToUpper(row.Severity.String()), row.CVE, row.Package, row.Version, cmp.Or(row.Fixed, "-")})
	}
	for _, gap := range r.Gaps {
		other = append(other, []string{"-", "gap: " + string(gap.Kind), gap.Detail})
	}
	for _, t := range []struct {
		header []string
		rows   [][]string
	}{
		{[]string{"ACTION", "SEVERITY", "VULNERABILITY", "PACKAGE", "INSTALLED", "FIXED IN"}, vulnerable},
		{[]string{"ACTION", "RULE", "WHAT WAS FOUND"}, other},
	} {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := table(w, t.header, t.rows); err != nil {
			return err
		}
	}
	return nil
}
