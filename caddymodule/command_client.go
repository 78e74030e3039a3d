package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// client is "caddy oauth client".
func (c *command) client() *cobra.Command {
	return group("client", "Manages the clients of an issuer",
		c.clientAdd(), c.clientList(), c.clientShow(), c.clientRemove(), c.clientRotateSecret(), c.clientDisable(), c.clientEnable())
}

func (c *command) clientAdd() *cobra.Command {
	var metadata clients.Metadata
	var scopes []string
	cmd := &cobra.Command{
		Use:   "add --name <name> [flags]",
		Short: "Registers a client and prints its id and, this once, its secret",
		Long: `
Registers a client. Its secret is printed now and never again: the server keeps
only a hash. Scopes must be declared by the issuer; without --scope, a client that
people sign in for may have openid, profile and email, and offline_access if it
may refresh tokens. A client without --resource can have tokens for whatever the
issuer protects.`,
		Example: `  caddy oauth client add --name "Billing" --grant client_credentials --scope orders:read
  caddy oauth client add --name "Web shop" --grant authorization_code --grant refresh_token --redirect-uri https://shop.example.com/callback
  caddy oauth client add --name "Billing" --grant client_credentials --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range scopes {
				metadata.Scope = append(metadata.Scope, strings.Fields(s)...)
			}
			answer, err := c.call(http.MethodPost, "clients", metadata)
			if err != nil {
				return err
			}
			return c.printClient(cmd, answer)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&metadata.Name, "name", "", "name of the client, for people")
	flags.StringVar(&metadata.ID, "id", "", "client_id; random if left out")
	flags.StringVar(&metadata.Type, "type", clients.Confidential, "confidential (has a secret) or public")
	flags.StringArrayVar(&metadata.GrantTypes, "grant", nil, "grant type the client may use (repeatable): client_credentials, authorization_code, refresh_token, device_code, token_exchange")
	flags.StringArrayVar(&metadata.RedirectURIs, "redirect-uri", nil, "redirect URI (repeatable)")
	flags.StringArrayVar(&metadata.PostLogoutRedirectURIs, "post-logout-redirect-uri", nil, "where the browser may go after signing out (repeatable)")
	flags.BoolVar(&metadata.PKCEOptional, "pkce-optional", false, "a confidential client that cannot do PKCE")
	flags.BoolVar(&metadata.ShortCodeVerifier, "short-code-verifier", false, "accept PKCE verifiers from 32 characters on")
	flags.BoolVar(&metadata.RefreshTokenAlways, "refresh-token-always", false, "give a refresh token though offline_access was not asked for")
	flags.BoolVar(&metadata.Impersonation, "impersonation", false, "exchange tokens without an actor token")
	flags.StringArrayVar(&scopes, "scope", nil, "scope the client may have (repeatable)")
	flags.StringArrayVar(&metadata.Resources, "resource", nil, "resource the client may have tokens for (repeatable)")
	cobra.CheckErr(cmd.MarkFlagRequired("name"))
	return cmd
}

// printClient shows one client, a line a property.
func (c *command) printClient(cmd *cobra.Command, answer json.RawMessage) error {
	var client clientAnswer
	return c.print(cmd, answer, &client, func(w *tabwriter.Writer) {
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, value)
			}
		}
		row("client_id", client.ID)
		row("client_secret", client.Secret)
		row("client_name", client.Name)
		row("client_type", client.Type)
		row("grant_types", strings.Join(client.GrantTypes, " "))
		row("redirect_uris", strings.Join(client.RedirectURIs, " "))
		row("scope", client.Scope.String())
		row("resources", strings.Join(client.Resources, " "))
		if client.Disabled {
			row("disabled", "yes")
		}
		if client.Declared {
			row("declared", "in the configuration")
		}
		if !client.Created.IsZero() {
			row("created", client.Created.Format(time.RFC3339))
		}
		if client.Secret != "" {
			fmt.Fprintln(w, "\nKeep the secret now; it is not shown again.")
		}
	})
}

func (c *command) clientList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the clients", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.list("clients", "clients")
			if err != nil {
				return err
			}
			var clients []clientAnswer
			return c.print(cmd, answer, &clients, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "CLIENT_ID\tNAME\tTYPE\tSTATE\tGRANTS\tSCOPE")
				for _, client := range clients {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", client.ID, client.Name, client.Type, stateWord(client.Disabled),
						strings.Join(client.GrantTypes, " "), client.Scope)
				}
			})
		},
	}
}

// stateWord is how a table tells who has no rights.
func stateWord(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

func (c *command) clientShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <client_id>", Short: "Shows a client", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodGet, "clients/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.printClient(cmd, answer)
		},
	}
}

func (c *command) clientRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove <client_id>", Short: "Removes a client and ends its tokens", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := c.call(http.MethodDelete, "clients/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Removed %s; its tokens are no longer accepted.\n", args[0])
			})
		},
	}
}

func (c *command) clientDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable <client_id>", Short: "Takes every right from a client without forgetting it", Args: cobra.ExactArgs(1),
		Long: `
Takes every right from a client without forgetting it. Its tokens end at once, with
everything that people granted to it, and it gets no new ones until it is enabled
again. A client that the configuration declares is changed there.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.switchClient(cmd, args[0], "disable", "Disabled %s; its tokens are no longer accepted.\n")
		},
	}
}

func (c *command) clientEnable() *cobra.Command {
	return &cobra.Command{
		Use: "enable <client_id>", Short: "Gives a disabled client its rights back", Args: cobra.ExactArgs(1),
		Long: `
Gives a disabled client its rights back. What was ended stays so: the client asks
for new tokens, and people sign in anew.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.switchClient(cmd, args[0], "enable", "Enabled %s; it can have tokens again.\n")
		},
	}
}

func (c *command) switchClient(cmd *cobra.Command, id, operation, done string) error {
	answer, err := c.call(http.MethodPost, "clients/"+url.PathEscape(id)+"/"+operation, nil)
	if err != nil {
		return err
	}
	return c.print(cmd, answer, new(any), func(w *tabwriter.Writer) { fmt.Fprintf(w, done, id) })
}

func (c *command) clientRotateSecret() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate-secret <client_id>",
		Short: "Gives a client a new secret; the old one works on for a while",
		Example: `  caddy oauth client rotate-secret billing
  caddy oauth client rotate-secret billing --overlap 0s   # the old secret has leaked`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]int64{"overlap_seconds": int64(overlap / time.Second)}
			answer, err := c.call(http.MethodPost, "clients/"+url.PathEscape(args[0])+"/rotate-secret", body)
			if err != nil {
				return err
			}
			var rotated struct {
				ID       string    `json:"client_id"`
				Secret   string    `json:"client_secret"`
				OldUntil time.Time `json:"old_secrets_until"`
			}
			return c.print(cmd, answer, &rotated, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "client_id\t%s\nclient_secret\t%s\nold secret until\t%s\n", rotated.ID, rotated.Secret, rotated.OldUntil.Format(time.RFC3339))
			})
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", secretOverlap, "how long the old secret works on")
	return cmd
}
