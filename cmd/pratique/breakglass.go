package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newBreakGlassCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "break-glass", Short: "Let one user pull what is refused in one repository, for a while",
		Long: `Let one user or robot pull what is refused in one repository, for at most four
hours, with a reason that is kept. It gives nothing to others and lifts nothing
from pushes. It takes the right "break-glass" on the repository, and "admin" as
well to give it to somebody else. Grants and every pull by them are audited.`,
		Example: `  pratique break-glass grant team/app --for 1h --reason "INC-4711: roll back to 1.3"
  pratique break-glass list
  pratique break-glass end 3QZ5...`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
	}
	c.flags(cmd)
	ask := struct {
		Repository string `json:"repository"`
		Principal  string `json:"principal,omitempty"`
		Reason     string `json:"reason"`
		For        string `json:"for"`
	}{}
	grant := &cobra.Command{
		Use: "grant REPOSITORY", Short: "Make a grant", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask.Repository = args[0]
			return c.pass(cmd, http.MethodPost, "", ask)
		},
	}
	grant.Flags().StringVar(&ask.Principal, "to", "", "who is to have it (default: who asks)")
	grant.Flags().StringVar(&ask.Reason, "reason", "", "why, in at least ten characters")
	grant.Flags().StringVar(&ask.For, "for", "1h", "how long, at most 4h")
	cmd.AddCommand(grant, &cobra.Command{
		Use: "list", Short: "Show grants, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.passes(cmd.Context(), cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "end ID", Short: "End a grant before its time", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.pass(cmd, http.MethodDelete, "/"+url.PathEscape(args[0]), nil)
		},
	})
	return cmd
}

// passRecord is a break-glass grant as the API describes it.
type passRecord struct {
	ID         string    `json:"id"`
	Principal  string    `json:"principal"`
	Repository string    `json:"repository"`
	Reason     string    `json:"reason"`
	GrantedBy  string    `json:"granted_by"`
	Until      time.Time `json:"until"`
	Live       bool      `json:"live"`
}

// pass makes or ends a grant.
func (c *client) pass(cmd *cobra.Command, method, path string, doc any) error {
	var body []byte
	if doc != nil {
		raw, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		body = raw
	}
	var raw json.RawMessage
	if err := c.do(cmd.Context(), method, "/v1/pratique/break-glass"+path, nil, body, &raw); err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(cmd.OutOrStdout(), raw)
	}
	var p passRecord
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("read the grant: %w", err)
	}
	if !p.Live {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "grant %s of %s on %s has ended\n", p.ID, p.Principal, p.Repository)
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s may pull what is refused in %s until %s\nend it earlier: pratique break-glass end %s\n",
		p.Principal, p.Repository, p.Until.Local().Format(time.DateTime), p.ID)
	return err
}

func (c *client) passes(ctx context.Context, w io.Writer) error {
	var answer struct {
		Grants []passRecord `json:"grants"`
	}
	return c.list(ctx, w, "/v1/pratique/break-glass", nil, &answer, func() error {
		if len(answer.Grants) == 0 {
			_, err := fmt.Fprintln(w, "no grants")
			return err
		}
		var rows [][]string
		for _, p := range answer.Grants {
			state := map[bool]string{true: "active", false: "ended"}[p.Live]
			rows = append(rows, []string{p.ID, state, p.Until.Local().Format(time.DateTime), p.Principal, p.Repository, p.GrantedBy, short(p.Reason, 60)})
		}
		return table(w, []string{"ID", "STATE", "UNTIL", "WHO", "REPOSITORY", "GRANTED BY", "REASON"}, rows)
	})
}

func newQuarantineCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "quarantine", Short: "Show and end the quarantine of pushed tags",
		Long: `Show the tags that wait for their image to be allowed (gate.push: quarantine),
and end the waiting. A tag moves by itself as soon as its image is allowed: by
another policy, an exception or new data. To move it anyway, or to give it up,
takes the right "admin" on the repository; pulls stay gated.`,
		Example: `  pratique quarantine list
  pratique quarantine release team/app:1.4
  pratique quarantine drop team/app:1.4`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
	}
	c.flags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "Show the tags in quarantine, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.holds(cmd.Context(), cmd.OutOrStdout()) },
	})
	for what, said := range map[string]string{"release": "Move the tag to its image now", "drop": "Give the tag up: it stays where it is"} {
		cmd.AddCommand(&cobra.Command{
			Use: what + " REPOSITORY:TAG", Short: said, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return c.endHold(cmd, what, args[0]) },
		})
	}
	return cmd
}

// holdRecord is a tag in quarantine as the API describes it.
type holdRecord struct {
	Repository string    `json:"repository"`
	Tag        string    `json:"tag"`
	Digest     string    `json:"digest"`
	Principal  string    `json:"principal"`
	Added      time.Time `json:"added"`
	Reason     string    `json:"reason"`
}

func (c *client) holds(ctx context.Context, w io.Writer) error {
	var answer struct {
		Quarantined []holdRecord `json:"quarantined"`
	}
	return c.list(ctx, w, "/v1/pratique/quarantine", nil, &answer, func() error {
		if len(answer.Quarantined) == 0 {
			_, err := fmt.Fprintln(w, "nothing is in quarantine")
			return err
		}
		var rows [][]string
		for _, h := range answer.Quarantined {
			rows = append(rows, []string{h.Repository + ":" + h.Tag, short(h.Digest, 22), h.Principal, ago(h.Added), short(h.Reason, 90)})
		}
		return table(w, []string{"TAG", "DIGEST", "PUSHED BY", "SINCE", "WHY"}, rows)
	})
}

func (c *client) endHold(cmd *cobra.Command, what, reference string) error {
	at := strings.LastIndexByte(reference, ':')
	if at <= strings.LastIndexByte(reference, '/') {
		return fmt.Errorf("%q is no REPOSITORY:TAG", reference)
	}
	body, err := json.Marshal(map[string]string{"repository": reference[:at], "tag": reference[at+1:]})
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.do(cmd.Context(), http.MethodPost, "/v1/pratique/quarantine/"+what, nil, body, &raw); err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(cmd.OutOrStdout(), raw)
	}
	done := map[string]string{"release": "is released: the tag has been moved, pulls stay gated", "drop": "is given up: the tag stays where it is"}[what]
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", reference, done)
	return err
}
