package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// user is "caddy oauth user".
func (c *command) user() *cobra.Command {
	return group("user", "Manages the people who sign in here", c.userAdd(), c.userList(), c.userShow(), c.userRemove(), c.userSetPassword(),
		c.userDisable(), c.userEnable())
}

func (c *command) userAdd() *cobra.Command {
	var body newUser
	var passwordStdin bool
	cmd := &cobra.Command{
		Use:   "add <username>",
		Short: "Adds a person",
		Long: `
Adds a person who signs in with a name and a password. The password is asked for
twice; with --password-stdin it is one line of standard input.`,
		Example: `  caddy oauth user add alice --name "Alice Martin" --email alice@example.com
  caddy oauth user add bob --password-stdin < password.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			body.Username = args[0]
			if body.Password, err = readPassword(cmd, passwordStdin); err != nil {
				return err
			}
			answer, err := c.call(http.MethodPost, "users", body)
			if err != nil {
				return err
			}
			return c.printUser(cmd, answer)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&body.Name, "name", "", "full name")
	flags.StringVar(&body.Email, "email", "", "e-mail address")
	flags.BoolVar(&body.EmailVerified, "email-verified", false, "the address is known to be theirs")
	flags.BoolVar(&body.Operator, "operator", false, "may decide on applications")
	flags.BoolVar(&passwordStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// readPassword asks for a password, or takes it from standard input. It never
// comes from an argument, which others on the machine could read.
func readPassword(cmd *cobra.Command, stdin bool) (string, error) {
	if stdin || !term.IsTerminal(int(os.Stdin.Fd())) {
		if !stdin {
			return "", errors.New("there is no terminal to ask for the password; use --password-stdin")
		}
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		password := strings.TrimRight(line, "\r\n")
		if password == "" {
			return "", errors.Join(errors.New("there is no password on standard input"), err)
		}
		return password, nil
	}
	var typed [2][]byte
	for n, prompt := range []string{"Password: ", "Again: "} {
		cmd.PrintErr(prompt)
		var err error
		if typed[n], err = term.ReadPassword(int(os.Stdin.Fd())); err != nil {
			return "", err
		}
		cmd.PrintErrln()
	}
	if string(typed[0]) != string(typed[1]) {
		return "", errors.New("the two passwords differ")
	}
	return string(typed[0]), nil
}

func (c *command) printUser(cmd *cobra.Command, answer json.RawMessage) error {
	var user users.User
	return c.print(cmd, answer, &user, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "username\t%s\nsub\t%s\n", user.Username, user.ID)
		for _, row := range [][2]string{{"name", user.Name}, {"email", user.Email}, {"provider", user.Provider}} {
			if row[1] != "" {
				fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
			}
		}
		if user.Disabled {
			fmt.Fprintln(w, "disabled\tyes")
		}
		fmt.Fprintf(w, "created\t%s\n", user.Created.Format(time.RFC3339))
	})
}

func (c *command) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the people", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.list("users", "users")
			if err != nil {
				return err
			}
			var all []users.User
			return c.print(cmd, answer, &all, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "USERNAME\tSUB\tSTATE\tNAME\tEMAIL")
				for _, user := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", user.Username, user.ID, stateWord(user.Disabled), user.Name, user.Email)
				}
			})
		},
	}
}

func (c *command) userShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <username|sub>", Short: "Shows a person", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodGet, "users/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.printUser(cmd, answer)
		},
	}
}

func (c *command) userRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove <username|sub>", Short: "Removes a person, with their sessions and all they granted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodDelete, "users/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Removed %s; what they granted is no longer accepted.\n", args[0])
			})
		},
	}
}

func (c *command) userDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable <username|sub>", Short: "Takes every right from a person without forgetting them", Args: cobra.ExactArgs(1),
		Long: `
Takes every right from a person without forgetting them: they cannot sign in, and
their sessions and all they granted end at once.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.switchUser(cmd, args[0], "disable", "Disabled %s; their sessions and all they granted have ended.\n")
		},
	}
}

func (c *command) userEnable() *cobra.Command {
	return &cobra.Command{
		Use: "enable <username|sub>", Short: "Lets a disabled person sign in again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.switchUser(cmd, args[0], "enable", "Enabled %s; they can sign in again.\n")
		},
	}
}

func (c *command) switchUser(cmd *cobra.Command, name, operation, done string) error {
	answer, err := c.call(http.MethodPost, "users/"+url.PathEscape(name)+"/"+operation, nil)
	if err != nil {
		return err
	}
	return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) { fmt.Fprintf(w, done, name) })
}

func (c *command) userSetPassword() *cobra.Command {
	var passwordStdin bool
	cmd := &cobra.Command{
		Use:   "set-password <username|sub>",
		Short: "Gives a person a new password and ends their sessions and all they granted",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd, passwordStdin)
			if err != nil {
				return err
			}
			answer, err := c.call(http.MethodPost, "users/"+url.PathEscape(args[0])+"/set-password", map[string]string{"password": password})
			if err != nil {
				return err
			}
			return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Set the password of %s; their sessions and all they granted have ended.\n", args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&passwordStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}
