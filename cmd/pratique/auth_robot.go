package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/auth"
)

func (a *authCommand) robotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "robot", Short: "Add, list and remove robots: names for programs, with a secret that runs out",
		Example: "  pratique auth robot add ci --expires 720h\n  pratique auth robot list\n  pratique auth robot remove ci",
	}
	cmd.AddCommand(a.robotAddCommand(), &cobra.Command{
		Use: "list", Short: "Show all robots and when they expire", Args: cobra.NoArgs,
		Example: "  pratique auth robot list\n  pratique auth robot list --format json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listRobots(cmd.OutOrStdout(), time.Now()) },
	}, &cobra.Command{
		Use: "remove NAME", Short: "Remove a robot; tokens end within seconds", Args: cobra.ExactArgs(1),
		Example: "  pratique auth robot remove ci\n  pratique auth robot remove robot+ci",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := a.edit(cmd, func(u *auth.Users) error { return u.RemoveRobot(args[0]) })
			if err != nil {
				return fmt.Errorf("remove robot %q: %w", args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "robot %s removed from %s\n", robotName(args[0]), path)
			return err
		},
	})
	return cmd
}

// newRobot is what is shown of a robot once.
type newRobot struct {
	Name    string    `json:"name"`
	Secret  string    `json:"secret"`
	Expires time.Time `json:"expires"`
}

func (a *authCommand) robotAddCommand() *cobra.Command {
	var life time.Duration
	var description string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a robot and show its secret, this once", Args: cobra.ExactArgs(1),
		Long: `Add a robot to the users file, which is made if it is not there. Its secret is
printed to standard output, this once: only a hash of it is stored.`,
		Example: `  pratique auth robot add ci --expires 720h --description "build server"
  pratique auth robot add ci --format json > ci.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if life <= 0 {
				return fmt.Errorf("--expires %s: must be longer than nothing", life)
			}
			r := newRobot{Name: robotName(args[0]), Expires: time.Now().Add(life).UTC().Truncate(time.Second)}
			path, err := a.edit(cmd, func(u *auth.Users) (err error) {
				r.Secret, err = u.AddRobot(r.Name, description, r.Expires)
				return err
			})
			if err != nil {
				return err
			}
			if a.format == "json" {
				return printJSON(cmd.OutOrStdout(), r)
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), r.Secret); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), `
robot %s is in %s until %s.
Above is its secret: it is shown this once, and stored nowhere. To log in:

  docker login --username %s --password-stdin REGISTRY < FILE-WITH-THE-SECRET
`, r.Name, path, r.Expires.Format(time.RFC3339), r.Name)
			return err
		},
	}
	cmd.Flags().DurationVar(&life, "expires", 720*time.Hour, "how long the secret is good")
	cmd.Flags().StringVar(&description, "description", "", "what the robot is for")
	return cmd
}

// listedRobot is a robot as it is listed.
type listedRobot struct {
	auth.Robot
	Expired bool `json:"expired"`
}

func (a *authCommand) listRobots(w io.Writer, now time.Time) error {
	users, err := a.users()
	if err != nil {
		return err
	}
	all := []listedRobot{}
	var rows [][]string
	for _, r := range users.Robots {
		l := listedRobot{r, !now.Before(r.Expires)}
		state := "active"
		if l.Expired {
			state = "expired"
		}
		all = append(all, l)
		rows = append(rows, []string{r.Name, state, r.Expires.Format(time.RFC3339), r.Description})
	}
	if a.format == "json" {
		return printJSON(w, all)
	}
	return table(w, []string{"NAME", "STATE", "EXPIRES", "DESCRIPTION"}, rows)
}

// robotName gives a robot's full name; the prefix may be left out.
func robotName(name string) string {
	return auth.RobotPrefix + strings.TrimPrefix(name, auth.RobotPrefix)
}
