package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/pratique/pratique/internal/config"
)

// drain is how long transfers may go on after the signal to stop.
const drain = 30 * time.Second

func newServeCommand(flags *configFlags) *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the registry proxy, the scanner and the API", Args: cobra.NoArgs,
		Long: `Run the registry proxy, the scanner and the API.

Without configuration: a registry of its own on 127.0.0.1:5000, API and pages on
127.0.0.1:8228, data under ~/.local/share/pratique, vulnerability data from
OSV.dev and NVD, policy "default". SIGHUP reads the configuration again, SIGTERM
and Ctrl-C let transfers finish and stop.`,
		Example: `  pratique serve
  pratique serve --config /etc/pratique.yaml
  pratique serve --set gate.push=enforce --set data_dir=/srv/pratique`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			return serveUntil(cmd.Context(), c, flags, cmd.ErrOrStderr())
		},
	}
}

func serveUntil(ctx context.Context, c config.Config, flags *configFlags, out io.Writer) (err error) {
	log := newLogger(c.Log, out)
	s, err := assemble(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.banner(out)
	const note = "gate, auth and certificates are in force; everything else needs a restart"
	return runParts(ctx, log, append(s.parts(), reloadOnHangup(flags, log, note, s.reload)))
}

// runParts runs all parts until one ends with an error, or ctx does.
func runParts(ctx context.Context, log *slog.Logger, parts []func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopped")
	return nil
}

func newLogger(c config.Log, out io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LevelValue()}
	if c.Format == "text" || (c.Format == "" && isTerminal(out)) {
		return slog.New(slog.NewTextHandler(out, opts))
	}
	return slog.New(slog.NewJSONHandler(out, opts))
}

func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// reloadOnHangup is a part that puts a changed configuration in force at SIGHUP,
// as far as that goes without a restart; note says how far. A configuration that
// is not good changes nothing.
func reloadOnHangup(flags *configFlags, log *slog.Logger, note string, reload func(context.Context, config.Config) error) func(context.Context) error {
	return func(ctx context.Context) error {
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hangup:
			}
			c, err := flags.load()
			if err == nil {
				err = reload(ctx, c)
			}
			if err != nil {
				log.Error("configuration not reloaded: the one in force stays", "error", err)
				continue
			}
			log.Info("configuration reloaded", "note", note)
		}
	}
}

// banner tells a newcomer where things are and what to type next.
func (s *system) banner(out io.Writer) {
	mode := map[bool]string{true: "everybody on this machine may push and pull", false: "who may do what: auth.anonymous, auth.users_file, auth.rules"}[s.auth.Open()]
	host := s.registry.Addr()
	fmt.Fprintf(out, `
  Pratique %s

  registry   %s   (%s)
  pages      %s   (also the API; /metrics, /readyz)
  policy     %s   data in %s
  gate       mode %s, push %s, what is not understood: %s
  feeds      %s%s

  Next:  docker tag IMAGE %s/team/app:1.0
         docker push %s/team/app:1.0       analysed while it streams past
         docker pull %s/team/app:1.0       served, or refused with the reason

`, versionText(), s.registry.URL(), mode, s.gate.ReportURL, s.policyName(), s.config.DataDir,
		s.config.Gate.Mode, s.config.Gate.Push, s.config.Gate.OnGap, s.dataText(), s.webhookText(), host, host, host)
}

// webhookText is a line about the door for clusters, where it is open.
func (s *system) webhookText() string {
	if s.webhook == nil {
		return ""
	}
	return fmt.Sprintf("\n  webhook    https://%s/validate, /mutate, /image-review, /gatekeeper", s.webhook.webhook.Addr())
}

// dataText says what vulnerability data there are at the start.
func (s *system) dataText() string {
	snapshot, ok := s.gate.Data.Current()
	if !ok {
		return "no data yet: the first sync begins now, and pulls are refused until it is done (pages and `pratique system status` show how far it is)"
	}
	defer snapshot.Release()
	return fmt.Sprintf("revision %d, synced %s; asked for news now and every %s", snapshot.Revision().Sequence, ago(snapshot.Synced()), s.config.Feeds.Interval)
}
