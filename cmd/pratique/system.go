package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/bytesize"
)

func newSystemCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "system", Short: "How a running pratique is doing",
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
	}
	c.flags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use: "collect", Short: "Collect garbage now, instead of at the next storage.gc.interval", Args: cobra.NoArgs,
		Long: `Collect garbage of a running pratique now: blobs of the embedded registry that no
manifest names, untagged manifests where storage.gc.untagged says so, reports and
records that nothing refers to. It takes the right "admin" on everything.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.collect(cmd.Context(), cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "status", Short: "Show whether it is ready, its policy and the age of its data", Args: cobra.NoArgs,
		Long: "Show whether a running pratique is ready, its policy and the age of its data.\n\nExit code 0: ready. 2: not ready, or it does not answer.",
		Example: `  pratique system status
  pratique system status --format json --url http://127.0.0.1:8228`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd.Context(), cmd.OutOrStdout()) },
	})
	return cmd
}

func (c *client) collect(ctx context.Context, w io.Writer) error {
	var raw json.RawMessage
	if err := c.do(ctx, http.MethodPost, "/v1/pratique/collect", nil, nil, &raw); err != nil {
		return err
	}
	if c.format == "json" {
		return printJSON(w, raw)
	}
	var done struct {
		Untagged  int           `json:"untagged_manifests"`
		Forgotten int           `json:"forgotten_manifests"`
		Blobs     int           `json:"blobs"`
		Bytes     int64         `json:"bytes"`
		Records   int64         `json:"records"`
		Took      time.Duration `json:"took_ns"`
	}
	if err := json.Unmarshal(raw, &done); err != nil {
		return fmt.Errorf("read what was collected: %w", err)
	}
	return table(w, nil, [][]string{
		{"Untagged manifests deleted", strconv.Itoa(done.Untagged)}, {"Blobs removed", fmt.Sprintf("%d, %s", done.Blobs, bytesize.Size(done.Bytes))},
		{"Manifests forgotten", strconv.Itoa(done.Forgotten)}, {"Records purged", strconv.FormatInt(done.Records, 10)}, {"Took", done.Took.Round(time.Millisecond).String()},
	})
}

// statusResult is what the API answers about itself, as far as it is printed.
type statusResult struct {
	Version  string `json:"version"`
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason"`
	Registry string `json:"registry"`
	Mode     string `json:"mode"`
	Policy   *struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"policy"`
	Syncing string `json:"syncing"`
	Data    *struct {
		Sequence uint64    `json:"sequence"`
		Synced   time.Time `json:"synced"`
	} `json:"data"`
	Feeds []struct {
		Source    string    `json:"source"`
		Ecosystem string    `json:"ecosystem"`
		Records   int       `json:"records"`
		Synced    time.Time `json:"synced"`
		Error     string    `json:"error"`
	} `json:"feeds"`
	Counts struct {
		Repositories int `json:"repositories"`
		Images       int `json:"images"`
		Verdicts     int `json:"verdicts"`
	} `json:"counts"`
}

func (c *client) status(ctx context.Context, w io.Writer) error {
	var raw json.RawMessage
	if err := c.do(ctx, http.MethodGet, "/v1/pratique/status", nil, nil, &raw); err != nil {
		return err
	}
	var s statusResult
	if err := json.Unmarshal(raw, &s); err != nil || s.Version == "" {
		return fmt.Errorf("the answer is no status: is this the API of a pratique?")
	}
	show := func() error { return s.print(w) }
	if c.format == "json" {
		show = func() error { return printJSON(w, raw) }
	}
	if err := show(); err != nil {
		return err
	}
	if !s.Ready {
		return &exitError{Code: exitFailed, Err: fmt.Errorf("not ready: %s", s.Reason)}
	}
	return nil
}

func (s *statusResult) print(w io.Writer) error {
	ready := map[bool]string{true: "yes", false: "no: " + s.Reason}[s.Ready]
	facts := [][]string{{"Version", s.Version}, {"Ready", ready}, {"Registry", s.Registry}, {"Gate mode", s.Mode}}
	if s.Policy != nil {
		facts = append(facts, []string{"Policy", fmt.Sprintf("%s (%s)", s.Policy.Name, s.Policy.ID)})
	}
	data := "none yet"
	if s.Data != nil {
		data = fmt.Sprintf("revision %d, oldest sync %s", s.Data.Sequence, ago(s.Data.Synced))
	}
	facts = append(facts, []string{"Data", data})
	if s.Syncing != "" {
		facts = append(facts, []string{"Syncing", s.Syncing})
	}
	facts = append(facts, []string{"Images", fmt.Sprintf("%d in %d repositories, %d verdicts", s.Counts.Images, s.Counts.Repositories, s.Counts.Verdicts)})
	if err := table(w, nil, facts); err != nil || len(s.Feeds) == 0 {
		return err
	}
	var rows [][]string
	for _, f := range s.Feeds {
		rows = append(rows, []string{f.Source, f.Ecosystem, strconv.Itoa(f.Records), ago(f.Synced), f.Error})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, []string{"SOURCE", "ECOSYSTEM", "RECORDS", "SYNCED", "LAST ERROR"}, rows)
}
