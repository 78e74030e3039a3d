package caddymodule

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// application is "caddy oauth application".
func (c *command) application() *cobra.Command {
	return group("application", "Answers requests for applications",
		c.applicationList(), c.applicationShow(), c.applicationApprove(), c.applicationReject())
}

func (c *command) applicationList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the requests, those without an answer first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.list("applications", "applications")
			if err != nil {
				return err
			}
			var all []issuer.Application
			return c.print(cmd, answer, &all, func(w *tabwriter.Writer) {
				slices.SortStableFunc(all, toAnswerFirst)
				fmt.Fprintln(w, "REFERENCE\tSTATUS\tNAME\tCONTACT\tRECEIVED")
				for _, a := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Reference, a.Status, a.Name, a.Contact, a.Received.Format(time.RFC3339))
				}
			})
		},
	}
}

// toAnswerFirst sorts requests: those that wait for an answer first, and of each
// kind the latest first.
func toAnswerFirst(a, b issuer.Application) int {
	answered := func(a issuer.Application) int {
		if a.Status == issuer.ApplicationPending {
			return 0
		}
		return 1
	}
	return cmp.Or(answered(a)-answered(b), b.Received.Compare(a.Received))
}

func (c *command) applicationShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <reference>", Short: "Shows a request; what is missing, the applicant is not sure of", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodGet, "applications/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			var a issuer.Application
			return c.print(cmd, answer, &a, func(w *tabwriter.Writer) { printApplication(w, &a) })
		},
	}
}

// printApplication shows a request, a line a property, and lists a line a value.
func printApplication(w *tabwriter.Writer, a *issuer.Application) {
	rows := func(name string, values ...string) {
		for _, value := range values {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, value)
				name = ""
			}
		}
	}
	rows("reference", a.Reference)
	rows("status", string(a.Status))
	rows("name", a.Name)
	rows("description", strings.Split(a.Description, "\n")...)
	rows("contact", a.Contact)
	rows("client_type", a.ClientType)
	rows("grant_types", a.GrantTypes...)
	rows("redirect_uris", a.RedirectURIs...)
	rows("resources", a.Resources...)
	rows("scopes", a.Scopes...)
	rows("received", a.Received.Format(time.RFC3339))
	rows("address", a.Address)
	if !a.Answered.IsZero() {
		rows("answered", a.Answered.Format(time.RFC3339))
	}
	rows("answered by", a.AnsweredBy)
	rows("reason", strings.Split(a.Reason, "\n")...)
	rows("client_id", a.ClientID)
	if a.Registered {
		rows("origin", "registered itself; nobody has verified what it says")
	}
}

func (c *command) applicationApprove() *cobra.Command {
	var adjust clients.Metadata
	var scopes []string
	cmd := &cobra.Command{
		Use:   "approve <reference> [flags]",
		Short: "Makes the client that was asked for and prints a one-time link to its secret",
		Long: `
Makes the client that was asked for. A flag replaces what the request says on its
matter; what the applicant was not sure of must be given.

Hand the link to the applicant. It works once, for seven days; the secret is made
when they open it, so that nobody else has ever seen it.`,
		Example: `  caddy oauth application approve k3x7q2m5ab
  caddy oauth application approve k3x7q2m5ab --type confidential --grant client_credentials --scope orders:read`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range scopes {
				adjust.Scope = append(adjust.Scope, strings.Fields(s)...)
			}
			answer, err := c.call(http.MethodPost, "applications/"+url.PathEscape(args[0])+"/approve", adjust)
			if err != nil {
				return err
			}
			var approved approvalAnswer
			return c.print(cmd, answer, &approved, func(w *tabwriter.Writer) {
				if approved.SecretURL == "" {
					fmt.Fprintf(w, "client_id\t%s\n\nThe client registered itself and has its credentials; it is enabled now.\n", approved.ID)
					return
				}
				fmt.Fprintf(w, "client_id\t%s\none-time link\t%s\nworks until\t%s\n", approved.ID, approved.SecretURL, approved.SecretExpiry.Format(time.RFC3339))
				fmt.Fprintln(w, "\nGive the link to the applicant; it is not shown again.")
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&adjust.Name, "name", "", "name of the client, for people")
	flags.StringVar(&adjust.ID, "id", "", "client_id; random if left out")
	flags.StringVar(&adjust.Type, "type", "", "confidential (has a secret) or public")
	flags.StringArrayVar(&adjust.GrantTypes, "grant", nil, "grant type the client may use (repeatable)")
	flags.StringArrayVar(&adjust.RedirectURIs, "redirect-uri", nil, "redirect URI (repeatable)")
	flags.StringArrayVar(&scopes, "scope", nil, "scope the client may have (repeatable)")
	flags.StringArrayVar(&adjust.Resources, "resource", nil, "resource the client may have tokens for (repeatable)")
	return cmd
}

func (c *command) applicationReject() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "reject <reference> --reason <text>",
		Short:   "Refuses a request and keeps the reason",
		Example: `  caddy oauth application reject k3x7q2m5ab --reason "Please use the mobile application's client."`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodPost, "applications/"+url.PathEscape(args[0])+"/reject", map[string]string{"reason": reason})
			if err != nil {
				return err
			}
			var a issuer.Application
			return c.print(cmd, answer, &a, func(w *tabwriter.Writer) { fmt.Fprintf(w, "Rejected %s.\n", a.Name) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "what the applicant is told")
	cobra.CheckErr(cmd.MarkFlagRequired("reason"))
	return cmd
}
