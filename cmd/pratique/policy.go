package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/engine/policy"
	"github.com/pratique/pratique/engine/policy/bundle"
)

func newPolicyCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "policy", Short: "List, read, add, activate and validate policy bundles",
		Long: `List, read, add, activate and validate policy bundles: Anchore's JSON documents.

All but validate talk to a running pratique. A bundle that is added is not in
force until it is activated; a bundle with the id of the active one is in force
at once.`,
		Example: `  pratique policy list
  pratique policy get default > bundle.json
  pratique policy validate bundle.json
  pratique policy add bundle.json
  pratique policy activate my-policy`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
	}
	c.flags(cmd)
	cmd.AddCommand(c.policyCommands()...)
	return cmd
}

func (c *client) policyCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: "list", Short: "Show all bundles and which one is in force", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.listPolicies(cmd.Context(), cmd.OutOrStdout()) },
		},
		{
			Use: "get ID", Short: "Print a bundle, ready to be edited and added again", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return c.getPolicy(cmd.Context(), cmd.OutOrStdout(), args[0])
			},
		},
		{
			Use: "add FILE", Short: "Check and store a bundle (- reads from standard input)", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return c.addPolicy(cmd, args[0]) },
		},
		{
			Use: "activate ID", Short: "Put a stored bundle in force", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return c.activatePolicy(cmd, args[0]) },
		},
		{
			Use: "validate FILE", Short: "Check a bundle without a server (- reads from standard input)", Args: cobra.ExactArgs(1),
			Long: "Check a bundle without a server, and tell everything that is wrong with it.\n\nExit code 0: it can be used, perhaps with warnings. 2: it cannot.",
			RunE: func(cmd *cobra.Command, args []string) error { return c.validatePolicy(cmd, args[0]) },
		},
	}
}

// policyRecord is a bundle as the API describes it.
type policyRecord struct {
	PolicyID    string          `json:"policyId"`
	Active      bool            `json:"active"`
	LastUpdated string          `json:"last_updated"`
	Name        string          `json:"name"`
	Bundle      json.RawMessage `json:"policybundle"`
}

func (c *client) listPolicies(ctx context.Context, w io.Writer) error {
	var records []policyRecord
	return c.list(ctx, w, "/v1/policies", nil, &records, func() error { return printPolicies(w, records) })
}

func printPolicies(w io.Writer, records []policyRecord) error {
	var rows [][]string
	for _, r := range records {
		state := "-"
		if r.Active {
			state = "active"
		}
		rows = append(rows, []string{r.PolicyID, state, r.Name, r.LastUpdated})
	}
	return table(w, []string{"POLICY ID", "STATE", "NAME", "UPDATED"}, rows)
}

func (c *client) policy(ctx context.Context, id string) (policyRecord, error) {
	var records []policyRecord
	err := c.do(ctx, http.MethodGet, "/v1/policies/"+url.PathEscape(id), url.Values{"detail": {"true"}}, nil, &records)
	var refused *answerError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return policyRecord{}, fmt.Errorf("there is no policy with the id %q: `pratique policy list` shows those that are", id)
	case err == nil && len(records) != 1:
		err = errors.New("the answer is no policy: is this the API of a pratique?")
	}
	if err != nil {
		return policyRecord{}, err
	}
	return records[0], nil
}

func (c *client) getPolicy(ctx context.Context, w io.Writer, id string) error {
	rec, err := c.policy(ctx, id)
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, rec.Bundle, "", "  "); err != nil {
		return fmt.Errorf("read policy %q: %w", id, err)
	}
	_, err = fmt.Fprintln(w, pretty.String())
	return err
}

func (c *client) addPolicy(cmd *cobra.Command, file string) error {
	raw, err := readDocument(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	var rec policyRecord
	err = c.do(cmd.Context(), http.MethodPost, "/v1/policies", nil, raw, &rec)
	var refused *answerError
	if errors.As(err, &refused) && len(refused.Detail.Problems) > 0 {
		if err := printProblems(cmd.ErrOrStderr(), refused.Detail.Problems); err != nil {
			return err
		}
		return fmt.Errorf("%s: the bundle was not stored", file)
	}
	if err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(cmd.OutOrStdout(), rec)
	}
	if err := printPolicies(cmd.OutOrStdout(), []policyRecord{rec}); err != nil {
		return err
	}
	if !rec.Active {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "\nIt is stored and not in force: pratique policy activate %s\n", printable(rec.PolicyID))
	}
	return err
}

func (c *client) activatePolicy(cmd *cobra.Command, id string) error {
	if _, err := c.policy(cmd.Context(), id); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"policyId": id, "active": true})
	if err != nil {
		return err
	}
	var records []policyRecord
	if err := c.do(cmd.Context(), http.MethodPut, "/v1/policies/"+url.PathEscape(id), url.Values{"active": {"true"}}, body, &records); err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(cmd.OutOrStdout(), records)
	}
	return printPolicies(cmd.OutOrStdout(), records)
}

// validation is the result of a local check.
type validation struct {
	Valid    bool             `json:"valid"`
	Problems []policy.Problem `json:"problems"`
}

func (c *client) validatePolicy(cmd *cobra.Command, file string) error {
	raw, err := readDocument(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	res := validation{Problems: []policy.Problem{}}
	b, err := bundle.Parse(raw)
	var invalid *bundle.ValidationError
	switch {
	case errors.As(err, &invalid):
		res.Problems = append(res.Problems, invalid.Problems...)
	case err != nil:
		return err
	default:
		res.Valid = true
		res.Problems = append(res.Problems, b.Problems...)
	}
	if err := c.printValidation(cmd.OutOrStdout(), file, b, res); err != nil {
		return err
	}
	if !res.Valid {
		return &exitError{Code: exitFailed}
	}
	return nil
}

func (c *client) printValidation(w io.Writer, file string, b *bundle.Bundle, res validation) error {
	if c.format == "json" {
		return printJSON(w, res)
	}
	if err := printProblems(w, res.Problems); err != nil {
		return err
	}
	text := fmt.Sprintf("%s: cannot be used", file)
	if res.Valid {
		text = fmt.Sprintf("%s: bundle %q can be used", file, cmp.Or(b.Name, b.ID))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func printProblems(w io.Writer, problems []policy.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	var rows [][]string
	for _, p := range problems {
		rows = append(rows, []string{p.Severity, p.ProblemType, p.Details})
	}
	return table(w, []string{"SEVERITY", "PROBLEM", "WHERE AND WHAT"}, rows)
}

// readDocument reads a file, or standard input for "-", of at most the size of a
// bundle.
func readDocument(file string, stdin io.Reader) (raw []byte, err error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	if raw, err = io.ReadAll(io.LimitReader(in, bundle.MaxSize+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(raw) > bundle.MaxSize {
		return nil, fmt.Errorf("%s is larger than %d bytes: no bundle is", file, bundle.MaxSize)
	}
	return raw, nil
}
