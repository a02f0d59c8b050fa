package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/feeds"
)

func newFeedsCommand(flags *configFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "feeds", Short: "Bring vulnerability data up to date, or show what there is",
		Long: "Bring vulnerability data up to date, or show what there is. Works on the data folder\nalone; a running serve picks new data up within seconds.",
	}
	cmd.AddCommand(newFeedsSyncCommand(flags), newFeedsListCommand(flags), newFeedsExportCommand(flags), newFeedsImportCommand(flags))
	return cmd
}

func newFeedsSyncCommand(flags *configFlags) *cobra.Command {
	return &cobra.Command{
		Use: "sync", Short: "Ask every source for news and build a new index if there are any", Args: cobra.NoArgs,
		Example: `  pratique feeds sync
  pratique feeds sync --set 'feeds.sources=[{name: osv, url: "file:///srv/mirror/osv", ecosystems: [Debian, Alpine]}]'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			progress := newProgress(cmd.ErrOrStderr())
			res, err := feeds.Sync(cmd.Context(), c.DataDir, c.Feeds, nil, func(p feeds.Progress) { progress.show(progressText(p)) })
			progress.done()
			if err != nil {
				return err
			}
			if err := printSync(cmd.OutOrStdout(), res); err != nil {
				return err
			}
			if res.Failed() {
				return &exitError{Code: exitFailed, Err: fmt.Errorf("some sources failed; the data that they gave before stay in use")}
			}
			return nil
		},
	}
}

func printSync(w io.Writer, res feeds.Result) error {
	var rows [][]string
	for _, f := range res.Feeds {
		rows = append(rows, []string{f.Source, f.Ecosystem, f.State, strconv.Itoa(f.Records), strconv.Itoa(f.Skipped), f.Error})
	}
	if err := table(w, []string{"SOURCE", "ECOSYSTEM", "STATE", "RECORDS", "SKIPPED", "ERROR"}, rows); err != nil {
		return err
	}
	for _, warning := range res.Warnings {
		if _, err := fmt.Fprintln(w, "warning:", warning); err != nil {
			return err
		}
	}
	news := "the data have not changed"
	if res.Changed {
		news = "new data"
	}
	_, err := fmt.Fprintf(w, "\n%s: revision %d, %s\n", news, res.Revision.Sequence, res.Revision.Digest)
	return err
}

func newFeedsListCommand(flags *configFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list", Short: "Show the sources, what they gave and how old it is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			list, err := feeds.List(c.DataDir)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "no vulnerability data yet: run `pratique feeds sync`")
				return err
			}
			var rows [][]string
			for _, f := range list {
				rows = append(rows, []string{f.Source, f.Ecosystem, strconv.Itoa(f.Records), day(f.Newest), ago(f.Synced), humanize.Bytes(uint64(max(f.Size, 0))), f.Error})
			}
			return table(cmd.OutOrStdout(), []string{"SOURCE", "ECOSYSTEM", "RECORDS", "NEWEST", "SYNCED", "SIZE", "LAST ERROR"}, rows)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanize.Time(t)
}

// progressText says in a few words what a sync is doing.
func progressText(p feeds.Progress) string {
	what := p.Ecosystem
	if what == "" {
		what = p.Source
	}
	switch {
	case what == "":
		return "starting"
	case p.Total > 0:
		return fmt.Sprintf("%s: %s %d %%", what, p.Step, 100*p.Done/p.Total)
	case p.Step == "download":
		return fmt.Sprintf("%s: %s %s", what, p.Step, humanize.Bytes(uint64(max(p.Done, 0))))
	}
	return fmt.Sprintf("%s: %s %d", what, p.Step, p.Done)
}
