package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// key is "caddy oauth key".
func (c *command) key() *cobra.Command {
	return group("key", "Manages the signing keys of an issuer", c.keyList(), c.keyRotate(), c.keyRevoke())
}

func (c *command) keyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the signing keys", Args: cobra.NoArgs,
		Long: `
Lists the signing keys that are published, oldest first. One that is "next" is
there so that everybody knows it when it signs, the "active" one signs, and one
that is "retiring" stays until the last token that it signed has expired.`,
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

func (c *command) keyRevoke() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke <kid>",
		Short: "Takes a signing key back at once, because somebody else may have it",
		Long: `
Takes a signing key back: it is published no more, and every token that it signed
is refused from the next request on, on other nodes within a second. If it was the
one that signs, another one signs at once. Resource servers elsewhere go on
believing it until they fetch the keys again.

Refresh tokens and sessions are not signed and stay good: clients that have one get
new tokens by themselves. To replace a key that nobody has stolen, use rotate.`,
		Example: `  caddy oauth key revoke pFdIhyW1BMRYMbpWtdVjzUMKNjJ4BEGXZSYHUb-X2gk
  caddy oauth key revoke --yes -- -kid-that-begins-with-a-dash`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := confirmRevocation(cmd, args[0]); err != nil {
					return err
				}
			}
			answer, err := c.call(http.MethodPost, "keys/"+url.PathEscape(args[0])+"/revoke", struct{}{})
			if err != nil {
				return err
			}
			return c.printKeys(cmd, answer)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	// A kid is base64url: every sixty-fourth begins with a dash.
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w (a kid that begins with a dash comes after --)", err)
	})
	return cmd
}

// confirmRevocation asks, where there is somebody to ask.
func confirmRevocation(cmd *cobra.Command, kid string) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("there is no terminal to ask whether you are sure; use --yes")
	}
	return confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), fmt.Sprintf("Every token that the key %s has signed will be refused. Revoke it?", kid))
}

// errNotConfirmed: somebody was asked and did not say yes.
var errNotConfirmed = errors.New("nothing was done")

// confirm asks a question that only y or yes answers with yes.
func confirm(in io.Reader, out io.Writer, question string) error {
	if _, err := fmt.Fprintf(out, "%s [y/N] ", question); err != nil {
		return err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errNotConfirmed
}

func (c *command) printKeys(cmd *cobra.Command, answer json.RawMessage) error {
	var infos []keys.Info
	return c.print(cmd, answer, &infos, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "KID\tALG\tSTATE\tMADE\tSIGNS FROM\tGONE AT\tENCRYPTED")
		for _, k := range infos {
			gone, encrypted := "-", "no"
			if !k.GoneAt.IsZero() {
				gone = k.GoneAt.Format(time.RFC3339)
			}
			if k.Encrypted {
				encrypted = "yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, k.Status,
				k.Created.Format(time.RFC3339), k.ActiveFrom.Format(time.RFC3339), gone, encrypted)
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
