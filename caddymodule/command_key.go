package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// key is "caddy oauth key".
func (c *command) key() *cobra.Command {
	return group("key", "Manages the signing keys of an issuer", c.keyList(), c.keyRotate())
}

func (c *command) keyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the signing keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.call(http.MethodGet, "keys", nil)
			if err != nil {
				return err
			}
			return c.printKeys(cmd, answer)
		},
	}
}

func (c *command) keyRotate() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Makes a new signing key",
		Long: `
Makes a new signing key. It is published at once and signs when everybody who
caches the keys has had the time to see it, some minutes later; the old key stays
published until its last token has expired. With --now it signs at once, and
others that cache the keys refuse its tokens until they look again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.call(http.MethodPost, "keys/rotate", map[string]bool{"immediately": now})
			if err != nil {
				return err
			}
			return c.printKeys(cmd, answer)
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "sign with the new key at once")
	return cmd
}

func (c *command) printKeys(cmd *cobra.Command, answer json.RawMessage) error {
	var infos []keys.Info
	return c.print(cmd, answer, &infos, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "KID\tALG\tSTATUS\tSIGNS FROM\tGONE AT")
		for _, k := range infos {
			gone := "-"
			if !k.GoneAt.IsZero() {
				gone = k.GoneAt.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, k.Status, k.ActiveFrom.Format(time.RFC3339), gone)
		}
	})
}

// secret is "caddy oauth secret": what a client declared in the configuration
// needs. It talks to no server.
func (c *command) secret() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Makes a client secret and its hash, for a client declared in the configuration",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret := clients.NewSecret()
			hash, err := clients.HashSecret(secret).MarshalText()
			if err != nil {
				return err
			}
			made := map[string]string{"client_secret": secret, "secret_hash": string(hash)}
			answer, err := json.Marshal(made)
			if err != nil {
				return err
			}
			return c.print(cmd, answer, &made, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "client_secret\t%s\nsecret_hash\t%s\n", made["client_secret"], made["secret_hash"])
			})
		},
	}
}
