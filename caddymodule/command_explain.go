package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// explain is "caddy oauth explain".
func (c *command) explain() *cobra.Command {
	var method string
	var headers []string
	cmd := &cobra.Command{
		Use:   "explain <token>|- <url>",
		Short: "Says whether a request would pass its gate, and why",
		Long: `
Sends a request along the routes of the running configuration, as far as the
first oauth_protect, and shows what that asks, in order, with the outcome and
the line of the Caddyfile. Nobody else is asked and nothing is counted; the API
is not called.

With - in place of the token it is read from standard input, and so stands in no
shell history; an empty one asks what happens without a token.

Exit status: 0 if the request would pass, 1 if not.`,
		Example: `  caddy oauth explain - https://api.example.com/orders/7 < token.txt
  caddy oauth explain "$TOKEN" https://api.example.com/orders --method POST
  caddy oauth explain "" https://api.example.com/health`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := argumentOrInput(cmd, args[0])
			if err != nil {
				return err
			}
			header := http.Header{}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					return fmt.Errorf("header %q: want \"Name: value\"", h)
				}
				header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
			}
			answer, err := c.call(http.MethodPost, "explain", map[string]any{
				"token": token, "url": args[1], "method": method, "header": header,
			})
			if err != nil {
				return err
			}
			x := new(explanation)
			if err := json.Unmarshal(answer, x); err != nil {
				return err
			}
			if err := c.print(cmd, answer, x, x.table); err != nil {
				return err
			}
			return x.verdict()
		},
	}
	cmd.Flags().StringVarP(&method, "method", "X", http.MethodGet, "method of the request")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "a header of the request, \"Name: value\"; may be repeated")
	return cmd
}

// table prints the questions and their outcome.
func (x *explanation) table(w *tabwriter.Writer) {
	fmt.Fprintf(w, "%s %s\n\n", x.Method, x.URL)
	if !x.Reached {
		return
	}
	fmt.Fprintln(w, "QUESTION\tOUTCOME\tLINE")
	for _, q := range x.Questions {
		fmt.Fprintf(w, "%s\t%s\t%s\n", q.Question, q.Outcome, q.Line)
	}
	fmt.Fprintln(w)
	if t := x.Token; t != nil {
		fmt.Fprintf(w, "token\t%s\nissuer\t%s\nsubject\t%s\nclient\t%s\naudience\t%s\nscope\t%s\nexpires\t%s\n",
			t.ID, t.Issuer, t.Subject, t.ClientID, strings.Join(t.Audience, " "), t.Scope, t.Expiry.Local().Format("2006-01-02 15:04:05"))
		if t.Actor != "" {
			fmt.Fprintf(w, "actor\t%s\n", t.Actor)
		}
	}
	switch {
	case x.Open != "":
		fmt.Fprintf(w, "passes\tas %s, without a token\n", x.Open)
	case x.Passes:
		fmt.Fprintf(w, "passes\tto %s\n", x.Resource)
	default:
		fmt.Fprintf(w, "refused\t%d %s\ndecided by\t%s\n", x.Status, x.Reason, x.Decided)
		if x.Scope != "" {
			fmt.Fprintf(w, "needs\t%s\n", x.Scope)
		}
		if x.Reported {
			fmt.Fprintln(w, "but\treport_only: it passes all the same")
		}
	}
}

// verdict is the error of a request that does not pass.
func (x *explanation) verdict() error {
	switch {
	case !x.Reached:
		return fmt.Errorf("no oauth_protect is on the way of this request; the routes answer it with %d (a proxy among them with 502, since nobody is asked)", x.Answered)
	case !x.Passes && !x.Reported:
		return errors.New("the request would be refused")
	}
	return nil
}
