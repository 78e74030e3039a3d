package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
)

// authorization is "caddy oauth authorization".
func (c *command) authorization() *cobra.Command {
	return group("authorization", "Manages what people granted to clients", c.authorizationList(), c.authorizationRevoke())
}

func (c *command) authorizationList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "list", Short: "Lists what is granted now, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "authorizations"
			if user != "" {
				path = "users/" + url.PathEscape(user) + "/authorizations"
			}
			answer, err := c.list(path, "authorizations")
			if err != nil {
				return err
			}
			var all []ledger.Authorization
			return c.print(cmd, answer, &all, func(w *tabwriter.Writer) {
				slices.SortStableFunc(all, func(a, b ledger.Authorization) int { return a.Created.Compare(b.Created) })
				fmt.Fprintln(w, "AUTHORIZATION_ID\tCLIENT_ID\tSUB\tSCOPE\tSINCE\tUNTIL")
				for _, a := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.ClientID, a.Subject, a.Scope,
						a.Created.Format(time.RFC3339), a.Expiry.Format(time.RFC3339))
				}
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only those of this person")
	return cmd
}

func (c *command) authorizationRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke <authorization_id>", Short: "Ends an authorization and all its tokens", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodDelete, "authorizations/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Revoked %s; its tokens are no longer accepted.\n", args[0])
			})
		},
	}
}
