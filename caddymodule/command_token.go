package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// token is "caddy oauth token".
func (c *command) token() *cobra.Command {
	return group("token", "Manages tokens", c.tokenRevoke())
}

func (c *command) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke <token>|-",
		Short: "Revokes an access token; the next request with it is refused",
		Long: `
Revokes an access token. With - in place of the token it is read from standard
input, and so stands in no shell history.
Exit status: 0 if the token is worth nothing now, whether it was before or not; 1 if
it is none of the issuer's, as is one of another issuer or a refresh token.`,
		Example: `  caddy oauth token revoke - < token.txt`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := argumentOrInput(cmd, args[0])
			if err != nil {
				return err
			}
			if token == "" {
				return errors.New("there is no token on standard input")
			}
			answer, err := c.call(http.MethodPost, "tokens/revoke", map[string]string{"token": token})
			if err != nil {
				return err
			}
			var result struct {
				Status   string `json:"status"`
				Reason   string `json:"reason"`
				ClientID string `json:"client_id"`
			}
			if err := json.Unmarshal(answer, &result); err != nil {
				return err
			}
			if result.Status == "unknown" {
				return fmt.Errorf("nothing is revoked, since this is no access token of the issuer: %s", result.Reason)
			}
			return c.print(cmd, answer, &result, func(w *tabwriter.Writer) {
				if result.Reason != "" {
					fmt.Fprintf(w, "Nothing to revoke: %s.\n", result.Reason)
					return
				}
				fmt.Fprintf(w, "Revoked a token of client %s.\n", result.ClientID)
			})
		},
	}
}

// argumentOrInput is an argument or, where that is -, the first line of standard
// input.
func argumentOrInput(cmd *cobra.Command, argument string) (string, error) {
	if argument != "-" {
		return argument, nil
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimSpace(line), nil
}
