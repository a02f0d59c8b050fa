package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pratique/pratique/internal/auth"
)

// maxPasswordInput bounds what is read of standard input, in bytes. It is more
// than a password may have, so that one that is too long is refused, not cut.
const maxPasswordInput = 4096

func (a *authCommand) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "user", Short: "Add, list and remove users",
		Example: "  pratique auth user add alice\n  pratique auth user list\n  pratique auth user remove alice",
	}
	cmd.AddCommand(a.userAddCommand(), &cobra.Command{
		Use: "list", Short: "Show all users", Args: cobra.NoArgs,
		Example: "  pratique auth user list\n  pratique auth user list --format json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listUsers(cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "remove NAME", Short: "Remove a user; tokens end within seconds", Args: cobra.ExactArgs(1),
		Example: "  pratique auth user remove alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := a.edit(cmd, func(u *auth.Users) error { return u.RemoveUser(args[0]) })
			if err != nil {
				return fmt.Errorf("remove user %q: %w", args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "user %s removed from %s\n", args[0], path)
			return err
		},
	})
	return cmd
}

func (a *authCommand) userAddCommand() *cobra.Command {
	var stdin, replace bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a user, or give one a new password", Args: cobra.ExactArgs(1),
		Long: `Add a user to the users file, which is made if it is not there. The password is
asked for twice on a terminal, or read from standard input; it has at most 72
bytes, and only its bcrypt hash is stored.`,
		Example: `  pratique auth user add alice
  pratique auth user add alice --replace
  pratique auth user add alice --password-stdin --users-file /etc/pratique/users.yaml < password.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := auth.ValidUserName(args[0]); err != nil {
				return fmt.Errorf("user name %q: %w", args[0], err)
			}
			if _, err := a.path(); err != nil {
				return err // before a password is asked for
			}
			password, err := readPassword(cmd, stdin)
			if err != nil {
				return err
			}
			path, err := a.edit(cmd, func(u *auth.Users) error { return addUser(u, args[0], password, replace) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "user %s is in %s\n", args[0], path)
			return err
		},
	}
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.Flags().BoolVar(&replace, "replace", false, "give a user that is there a new password")
	return cmd
}

func addUser(u *auth.Users, name, password string, replace bool) error {
	if replace {
		if err := u.RemoveUser(name); err != nil {
			return fmt.Errorf("replace the password of %s: %w", name, err)
		}
	}
	return u.AddUser(name, password)
}

func (a *authCommand) listUsers(w io.Writer) error {
	users, err := a.users()
	if err != nil {
		return err
	}
	if a.format == "json" {
		return printJSON(w, append([]auth.User{}, users.Users...))
	}
	var rows [][]string
	for _, u := range users.Users {
		rows = append(rows, []string{u.Name})
	}
	return table(w, []string{"NAME"}, rows)
}

// readPassword reads a password from standard input, where one end of line after
// it does not count, or asks for it twice.
func readPassword(cmd *cobra.Command, stdin bool) (string, error) {
	in := cmd.InOrStdin()
	if stdin {
		raw, err := io.ReadAll(io.LimitReader(in, maxPasswordInput))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r"), nil
	}
	f, ok := in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", errors.New("standard input is no terminal: give the password with --password-stdin")
	}
	first, err := promptPassword(cmd, f, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := promptPassword(cmd, f, "Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

// promptPassword asks without echo. An interrupt ends it and restores the
// terminal; the read under way then ends with the process.
func promptPassword(cmd *cobra.Command, f *os.File, prompt string) (string, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	defer fmt.Fprintln(cmd.ErrOrStderr())
	type input struct {
		text []byte
		err  error
	}
	done := make(chan input, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- input{text, err}
	}()
	select {
	case in := <-done:
		if in.err != nil {
			return "", fmt.Errorf("read the password: %w", in.err)
		}
		return string(in.text), nil
	case <-cmd.Context().Done():
		return "", errors.Join(errors.New("no password given"), term.Restore(fd, before))
	}
}
