package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfigCommand(flags *configFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show the configuration"}
	cmd.AddCommand(&cobra.Command{
		Use: "check", Short: "Say whether the configuration is good, and what is wrong with it", Args: cobra.NoArgs,
		Example: "  pratique config check --config /etc/pratique.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := flags.load(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
			return err
		},
	}, &cobra.Command{
		Use: "show", Short: "Show the configuration in force, defaults included, secrets masked", Args: cobra.NoArgs,
		Example: "  pratique config show\n  PRATIQUE_GATE_MODE=passive pratique config show",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			text, err := c.Show()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	})
	return cmd
}
