// Command pratique is a registry proxy that analyses every image that passes
// and refuses those that fail policy, and the tools around it. It only wires:
// what it does is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/config"
)

// Exit codes. 0: passed; exitStop: policy says stop; exitFailed: a wrong
// command line, or something did not work.
const (
	exitStop   = 1
	exitFailed = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.Error() != "" {
			fmt.Fprintln(os.Stderr, "pratique:", exit)
		}
		return exit.Code
	}
	fmt.Fprintln(os.Stderr, "pratique:", err)
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "pratique",
		Short: "A registry proxy that lets no failing image through",
		Long: `Pratique stands between people or clusters and their container registries.
Every image that is pushed or pulled through it is analysed once, judged by
policy, and refused, with the reason, when it fails.`,
		Example: `  pratique serve                                  # registry on 127.0.0.1:5000, pages on 127.0.0.1:8228
  docker push 127.0.0.1:5000/team/app:1.0         # analysed while it streams past
  docker pull 127.0.0.1:5000/team/app:1.0         # served, or refused with the reason
  pratique check 127.0.0.1:5000/team/app:1.0      # the verdict of the running system
  pratique scan oci:./layout                      # without a server`,
		SilenceErrors: true, SilenceUsage: true,
	}
	var flags configFlags
	root.PersistentFlags().StringVarP(&flags.file, "config", "c", os.Getenv("PRATIQUE_CONFIG"), "configuration file (YAML; also PRATIQUE_CONFIG)")
	root.PersistentFlags().StringArrayVar(&flags.set, "set", nil, "one setting, as in --set gate.mode=passive (repeatable)")
	root.AddCommand(
		newServeCommand(&flags), newAdmissionCommand(&flags), newScanCommand(&flags), newCheckCommand(), newDoctorCommand(), newFeedsCommand(&flags), newPolicyCommand(), newAuditCommand(),
		newBreakGlassCommand(), newExceptionsCommand(), newQuarantineCommand(), newRunningCommand(), newConfigCommand(&flags), newAuthCommand(&flags), newSystemCommand(), newVersionCommand(),
	)
	return root
}

// configFlags are the flags that say where the configuration comes from.
type configFlags struct {
	file string
	set  []string
}

func (f *configFlags) load() (config.Config, error) {
	return config.Load(config.Source{File: f.file, Env: os.Environ(), Set: f.set})
}
