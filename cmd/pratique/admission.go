package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/admission"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/gate"
	"github.com/pratique/pratique/internal/serve"
	"github.com/pratique/pratique/internal/verdicts"
)

func newAdmissionCommand(flags *configFlags) *cobra.Command {
	return &cobra.Command{
		Use: "admission", Short: "Run the Kubernetes admission webhook alone", Args: cobra.NoArgs,
		Long: `Run the Kubernetes admission webhook beside a pratique that serves elsewhere.
It answers from the verdicts that the registry proxy keeps in Redis (redis.url), and
asks the API (admission.engine.url) where Redis cannot say. It analyses nothing:
what is not known is queued for the processes that do. SIGHUP reads the
configuration again.

The same door opens inside serve with admission.enabled: true.`,
		Example: `  pratique admission --config /etc/pratique.yaml
  pratique admission --set redis.url=redis://redis:6379/0 --set redis.hmac_key_file=/run/secrets/hmac \
      --set admission.tls.cert=tls.crt --set admission.tls.key=tls.key`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			return admitUntil(cmd.Context(), c, flags, cmd.ErrOrStderr())
		},
	}
}

func admitUntil(ctx context.Context, c config.Config, flags *configFlags, out io.Writer) (err error) {
	log := newLogger(c.Log, out)
	metrics := serve.NewMetrics()
	j, closers, err := findJudges(c, metrics, log)
	defer func() {
		for _, end := range closers {
			err = errors.Join(err, end())
		}
	}()
	if err != nil {
		return err
	}
	d, err := openAdmission(c, j, metrics, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
  Pratique %s, admission alone
  webhook    https://%s/validate, /mutate, /image-review, /gatekeeper
  verdicts   %s
  figures    %s

`, versionText(), d.webhook.Addr(), verdictSource(c), d.figuresURL())
	const note = "selectors, answers and mutation are in force; everything else needs a restart"
	return runParts(ctx, log, append(d.parts, reloadOnHangup(flags, log, note, d.reload)))
}

func verdictSource(c config.Config) string {
	switch engine := c.Admission.Engine.URL; {
	case c.Redis.URL == "":
		return "from the API " + engine
	case engine == "":
		return "from Redis (admission.engine.url would be asked where Redis cannot say)"
	default:
		return "from Redis, and from the API " + engine + " where Redis cannot say"
	}
}

// findJudges are those that a process can ask that has no catalog.
func findJudges(c config.Config, metrics *serve.Metrics, log *slog.Logger) (j judges, closers []func() error, err error) {
	if c.Redis.URL != "" {
		shared, err := verdicts.NewRedis(c.Redis, log)
		if err != nil {
			return j, nil, err
		}
		closers = append(closers, shared.Close)
		remote := gate.NewRemote(verdicts.NewReader(shared, time.Now, metrics.Lookup), time.Now)
		j = judges{standings: remote, home: remote, admissions: remote, basis: remote.Basis}
	}
	if c.Admission.Engine.URL != "" {
		engine, err := admission.NewEngine(c.Admission.Engine, time.Now)
		if err != nil {
			return j, closers, err
		}
		closers = append(closers, func() error { engine.Close(); return nil })
		if j.standings == nil {
			return judges{standings: engine, home: engine}, closers, nil
		}
		j.standings = admission.Chain{First: j.standings, Second: engine}
	}
	if j.standings == nil {
		err = errors.New("nobody to ask for verdicts: set redis.url, or admission.engine.url, or open the door inside serve with admission.enabled")
	}
	return j, closers, err
}
