package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/auth"
	"github.com/pratique/pratique/internal/config"
)

// authCommand is what the commands about users, robots and rights share.
type authCommand struct {
	config *configFlags
	file   string // --users-file
	format string
}

func newAuthCommand(flags *configFlags) *cobra.Command {
	a := &authCommand{config: flags}
	cmd := &cobra.Command{
		Use: "auth", Short: "Manage users and robots, and ask who may do what",
		Long: `Manage users and robots, and ask who may do what.

Works on the file of auth.users_file alone; a running serve takes a change in
force within seconds. What users and robots may do stands in auth.rules of the
configuration.`,
		Example: `  pratique auth user add alice
  pratique auth robot add ci --expires 720h --description "build server"
  pratique auth can robot+ci push team/app`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(a.format) },
	}
	cmd.PersistentFlags().StringVar(&a.file, "users-file", "", "users file (default: auth.users_file of the configuration)")
	cmd.PersistentFlags().StringVar(&a.format, "format", "table", "table or json")
	cmd.AddCommand(a.userCommand(), a.robotCommand(), a.canCommand())
	return cmd
}

// path is the users file to work on.
func (a *authCommand) path() (string, error) {
	if a.file != "" {
		return a.file, nil
	}
	c, err := a.config.load()
	if err != nil {
		return "", err
	}
	if c.Auth.UsersFile == "" {
		return "", errors.New("auth.users_file is not set: set it in the configuration, or name the file with --users-file")
	}
	return c.Auth.UsersFile, nil
}

// edit changes the users file and returns its path.
func (a *authCommand) edit(cmd *cobra.Command, change func(*auth.Users) error) (string, error) {
	path, err := a.path()
	if err != nil {
		return "", err
	}
	return path, auth.EditUsers(cmd.Context(), path, change)
}

// users reads the users file.
func (a *authCommand) users() (auth.Users, error) {
	path, err := a.path()
	if err != nil {
		return auth.Users{}, err
	}
	return auth.ReadUsers(path)
}

func (a *authCommand) canCommand() *cobra.Command {
	return &cobra.Command{
		Use: "can WHO ACTION [REPOSITORY]", Short: "Say whether somebody may do something, and which rule allows it", Args: cobra.RangeArgs(2, 3),
		Long: `Say whether a user, a robot or anonymous may pull, push, delete, admin or
break-glass, and which rule of the configuration allows it.

REPOSITORY is the name as rules know it, with the prefix of its upstream:
docker.io/library/nginx. Without it the question is for a right on everything.

Exit code 0: yes. 1: no. 2: the question could not be answered.`,
		Example: `  pratique auth can alice push team/app
  pratique auth can anonymous pull docker.io/library/nginx
  pratique auth can alice admin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.config.load()
			if err != nil {
				return err
			}
			if a.file != "" {
				c.Auth.UsersFile = a.file
			}
			q := question{Principal: args[0], Action: args[1]}
			if len(args) == 3 {
				q.Repository = args[2]
			}
			if err := q.ask(c, time.Now()); err != nil {
				return err
			}
			if err := q.print(cmd.OutOrStdout(), a.format); err != nil {
				return err
			}
			if !q.Allowed {
				return &exitError{Code: exitStop}
			}
			return nil
		},
	}
}

// question is whether somebody may do something, and the answer.
type question struct {
	Principal  string `json:"principal"`
	Action     string `json:"action"`
	Repository string `json:"repository"` // empty: everything
	Allowed    bool   `json:"allowed"`
	Reason     string `json:"reason"` // the rule that allows it, or why not
}

// ask finds the answer in the configuration and its users file.
func (q *question) ask(c config.Config, now time.Time) error {
	if !auth.KnownAction(q.Action) {
		return fmt.Errorf("%q is no action: want pull, push, delete, admin or break-glass", q.Action)
	}
	if q.Principal != auth.Anonymous {
		if c.Auth.UsersFile == "" {
			q.Reason = "nobody has a name without auth.users_file"
			return nil
		}
		users, err := auth.ReadUsers(c.Auth.UsersFile)
		if err != nil {
			return err
		}
		if err := users.Check(q.Principal, now); err != nil {
			q.Reason = err.Error()
			return nil
		}
	}
	q.Reason, q.Allowed = c.Auth.Explain(c.Loopback(), q.Principal, q.Action, q.Repository)
	if !q.Allowed {
		q.Reason = "no rule allows it"
	}
	return nil
}

func (q *question) print(w io.Writer, format string) error {
	if format == "json" {
		return printJSON(w, q)
	}
	answer, where := "no", "everything"
	if q.Allowed {
		answer = "yes"
	}
	if q.Repository != "" {
		where = q.Repository
	}
	_, err := fmt.Fprintln(w, printable(fmt.Sprintf("%s: %s, %s on %s: %s", answer, q.Principal, q.Action, where, q.Reason)))
	return err
}
