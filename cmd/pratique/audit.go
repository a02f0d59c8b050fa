package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// auditQuery chooses entries of the audit trail.
type auditQuery struct {
	kind, principal, repository string
	since                       time.Duration
	limit                       int
}

func newAuditCommand() *cobra.Command {
	var c client
	var q auditQuery
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who pushed, deleted, changed policies and was refused what", Args: cobra.NoArgs,
		Long: `Show the audit trail of a running pratique, newest first: refusals, pushes,
deletes, quarantine, break-glass grants and their use, changes of policy.

It takes the right "admin" on everything. How long entries are kept is
storage.gc.audit.`,
		Example: `  pratique audit
  pratique audit --since 24h --kind "pull refused"
  pratique audit --repository team/app --principal robot+ci --format json`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.audit(cmd.Context(), cmd.OutOrStdout(), q)
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&q.kind, "kind", "", `kind of entry: "pull refused", "push refused", "forbidden", "pushed", "deleted", "policy changed", "break-glass grant", ...`)
	cmd.Flags().StringVar(&q.principal, "principal", "", "user or robot")
	cmd.Flags().StringVar(&q.repository, "repository", "", "repository as it is pulled, without host and tag")
	cmd.Flags().DurationVar(&q.since, "since", 0, "how far to look back, as in 24h (default: all that is kept)")
	cmd.Flags().IntVar(&q.limit, "limit", 50, "how many entries at most, up to 1000")
	return cmd
}

// auditEntry is an entry as the API describes it.
type auditEntry struct {
	At         time.Time `json:"at"`
	Kind       string    `json:"kind"`
	Principal  string    `json:"principal"`
	Client     string    `json:"client"`
	Repository string    `json:"repository"`
	Reference  string    `json:"reference"`
	Message    string    `json:"message"`
}

func (c *client) audit(ctx context.Context, w io.Writer, q auditQuery) error {
	query := url.Values{"limit": {strconv.Itoa(q.limit)}}
	for name, value := range map[string]string{"kind": q.kind, "principal": q.principal, "repository": q.repository} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.since > 0 {
		query.Set("since", time.Now().Add(-q.since).UTC().Format(time.RFC3339))
	}
	var answer struct {
		Entries []auditEntry `json:"entries"`
	}
	return c.list(ctx, w, "/v1/pratique/audit", query, &answer, func() error { return printAudit(w, answer.Entries) })
}

func printAudit(w io.Writer, entries []auditEntry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "no entries")
		return err
	}
	rows := make([][]string, len(entries))
	for i, e := range entries {
		rows[i] = []string{e.At.Local().Format(time.DateTime), e.Kind, e.Principal, e.Client, e.Repository, short(e.Reference, 24), short(e.Message, 90)}
	}
	return table(w, []string{"TIME", "WHAT", "WHO", "FROM", "REPOSITORY", "REFERENCE", "WHY"}, rows)
}

// short cuts a text for a column.
func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-3]) + "..."
}
