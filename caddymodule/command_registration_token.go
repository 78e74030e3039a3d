package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// registrationTokenLifetime is the default of --expires.
const registrationTokenLifetime = 7 * 24 * time.Hour

// registrationToken is "caddy oauth registration-token".
func (c *command) registrationToken() *cobra.Command {
	return group("registration-token", "Manages the tokens with which clients register themselves",
		c.registrationTokenCreate(), c.registrationTokenList(), c.registrationTokenRemove())
}

func (c *command) registrationTokenCreate() *cobra.Command {
	var uses int
	var expires string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Makes a token and prints it, this once",
		Long: `
Makes an initial access token (RFC 7591): whoever has it may register clients at
the registration endpoint, as many as --uses says. The issuer's block must say
"registration token".`,
		Example: `  caddy oauth registration-token create
  caddy oauth registration-token create --uses 20 --expires 1d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lifetime, err := caddy.ParseDuration(expires)
			if err != nil {
				return fmt.Errorf("--expires: %w", err)
			}
			body := map[string]int64{"uses": int64(uses), "expires_seconds": int64(lifetime / time.Second)}
			answer, err := c.call(http.MethodPost, "registration-tokens", body)
			if err != nil {
				return err
			}
			var made registrationTokenAnswer
			return c.print(cmd, answer, &made, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "token\t%s\nid\t%s\nuses\t%d\nexpires\t%s\n", made.Token, made.ID, made.Uses, made.Expiry.Format(time.RFC3339))
				fmt.Fprintln(w, "\nKeep the token now; it is not shown again.")
			})
		},
	}
	cmd.Flags().IntVar(&uses, "uses", 1, "how many clients it may register, 1 to 1000")
	cmd.Flags().StringVar(&expires, "expires", "7d", "how long it may be used")
	return cmd
}

func (c *command) registrationTokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the tokens in force, by their ids", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.list("registration-tokens", "registration_tokens")
			if err != nil {
				return err
			}
			var tokens []issuer.RegistrationToken
			return c.print(cmd, answer, &tokens, func(w *tabwriter.Writer) {
				slices.SortStableFunc(tokens, func(a, b issuer.RegistrationToken) int { return a.Created.Compare(b.Created) })
				fmt.Fprintln(w, "ID\tUSES LEFT\tCREATED\tEXPIRES")
				for _, token := range tokens {
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", token.ID, token.Uses, token.Created.Format(time.RFC3339), token.Expiry.Format(time.RFC3339))
				}
			})
		},
	}
}

func (c *command) registrationTokenRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove <id>", Short: "Ends a token; clients that it registered stay", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodDelete, "registration-tokens/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.print(cmd, answer, new(json.RawMessage), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Removed %s.\n", args[0])
			})
		},
	}
}
