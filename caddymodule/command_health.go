package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// health is "caddy oauth health".
func (c *command) health() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Tells whether the server can issue and judge tokens",
		Long: `
Tells whether the storage answers and accepts writes, and whether each issuer has
a key to sign with and knows what other nodes revoke. Exit status: 0 if all of it
is so, 1 if not, with one line on standard error that says what is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := c.call(http.MethodGet, "health", nil)
			if err != nil {
				return err
			}
			var found healthAnswer
			return c.print(cmd, answer, &found, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, found.Status)
				if found.Storage != "" {
					fmt.Fprintf(w, "storage\t%s\n", found.Storage)
				}
				for _, url := range slices.Sorted(maps.Keys(found.Issuers)) {
					fmt.Fprintf(w, "issuer %s\t%s\n", url, found.Issuers[url])
				}
			})
		},
	}
}
