package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule/probe"
)

// probeOptions are the flags of "caddy oauth probe".
type probeOptions struct {
	client, resolve, backend string
	insecure, forwardToken   bool
	openPaths                []string
}

// probe is "caddy oauth probe".
func (c *command) probe() *cobra.Command {
	o := new(probeOptions)
	cmd := &cobra.Command{
		Use:   "probe <url> --token-from <client>",
		Short: "Attacks a route behind its gate and tells what passes that must not",
		Long: `
Attacks a live route as strangers would, over real connections: without a token,
with expired, revoked, forged and misplaced ones, in the name of somebody else, on
paths and by methods that a gate could misread, and with requests whose end is in
doubt. Prints what was tried and whether the gate held.

GET of the URL must succeed with a token of the client. The server makes such
tokens for the probe, and bad ones: they live for a minute, their jti begins with
"probe-", and a line of the audit log tells of them.

Against the API itself only GET, HEAD, OPTIONS, TRACE, CONNECT and the like are
sent, so that nothing is changed; statuses and headers of the answers are judged,
and what they cannot show is listed as "not seen". With --backend the command
itself listens at an address and plays the API: let the reverse_proxy of the route
point there. Then all methods are sent, and what reaches the API is judged.

Exit status: 0 if nothing failed, 1 if something did, or nothing could be tried.`,
		Example: `  caddy oauth probe https://api.example.com/orders --token-from billing
  caddy oauth probe https://api.example.com/orders --token-from billing --json
  caddy oauth probe https://api.example.com/orders --token-from billing --backend 127.0.0.1:9000
  caddy oauth probe https://api.example.com/orders --token-from billing --resolve api.example.com:10.0.0.7 --insecure`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.runProbe(cmd, args[0], o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.client, "token-from", "", "client whose tokens are used")
	flags.StringVar(&o.backend, "backend", "", "address at which to listen and play the API")
	flags.StringVar(&o.resolve, "resolve", "", "connect elsewhere: HOST:ADDRESS, with the host of the URL")
	flags.BoolVar(&o.insecure, "insecure", false, "do not verify the certificate of the server, for a local CA")
	flags.BoolVar(&o.forwardToken, "forward-token", false, "the API is meant to get the token (forward_token)")
	flags.StringArrayVar(&o.openPaths, "open", []string{"/public"}, "path beside the gate that needs no token, from which ways to the API are tried (repeatable)")
	cobra.CheckErr(cmd.MarkFlagRequired("token-from"))
	return cmd
}

// runProbe makes the probe and prints what it found.
func (c *command) runProbe(cmd *cobra.Command, url string, o *probeOptions) error {
	target, err := probe.NewTarget(url, o.resolve, o.insecure)
	if err != nil {
		return err
	}
	options := probe.Options{
		Target: target, ForwardToken: o.forwardToken, OpenPaths: o.openPaths, Guarded: neverFromOutside,
		Progress: reportProgress(cmd.ErrOrStderr(), time.Now()),
		Mint:     func(context.Context) (*probe.Given, error) { return c.mintForProbe(o.client, url) },
	}
	if o.backend != "" {
		if options.Backend, err = probe.Listen(o.backend); err != nil {
			return err
		}
		defer options.Backend.Close()
	}
	report, err := probe.Run(cmd.Context(), options)
	if err != nil {
		return err
	}
	return c.printProbe(cmd, report)
}

// mintForProbe asks the server for tokens.
func (c *command) mintForProbe(client, url string) (*probe.Given, error) {
	answer, err := c.call(http.MethodPost, "probe-tokens", map[string]string{"client_id": client, "url": url})
	if err != nil {
		return nil, err
	}
	given := new(probe.Given)
	return given, json.Unmarshal(answer, given)
}

// progressAfter is how long a probe may go on without a word.
const progressAfter = 2 * time.Second

// reportProgress writes a line every few seconds.
func reportProgress(to io.Writer, began time.Time) func(class string, sent int) {
	last := began
	return func(class string, sent int) {
		if now := time.Now(); now.Sub(last) > progressAfter {
			last = now
			_, _ = fmt.Fprintf(to, "probing for %.0f s: %d requests sent, now those of class %s\n", now.Sub(began).Seconds(), sent, class)
		}
	}
}

func (c *command) printProbe(cmd *cobra.Command, report *probe.Report) error {
	encoded, err := json.Marshal(report)
	if err != nil {
		return err
	}
	if err := c.print(cmd, encoded, new(probe.Report), func(w *tabwriter.Writer) { tabulateProbe(w, report) }); err != nil {
		return err
	}
	if report.Failed > 0 {
		return errors.New("the gate does not hold: " + counted(report.Failed, "check") + " failed")
	}
	return nil
}

func tabulateProbe(w *tabwriter.Writer, report *probe.Report) {
	fmt.Fprintf(w, "%s (resource %s)\n\n", report.URL, report.Resource)
	fmt.Fprintln(w, "CLASS\tCHECK\tOUTCOME\tDETAIL")
	for _, f := range report.Checks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Class, f.Check, f.Outcome, f.Detail)
	}
	fmt.Fprintf(w, "\n%d passed, %d failed, %d not seen\n", report.Passed, report.Failed, report.NotSeen)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprint(n, " ", what, "s")
}
