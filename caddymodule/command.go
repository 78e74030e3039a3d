package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "oauth",
		Short: "Manages clients, people, tokens and keys of the OAuth issuer",
		Long: `
Manages the OAuth issuer of a running Caddy through its admin endpoint, found as
"caddy reload" finds it: --address, else the admin address in --config, else
localhost:2019.

Results are tables for people, or with --json one JSON document for programs.
Exit status: 0 done, 1 not done, with one line on standard error that says why.`,
		CobraFunc: func(cmd *cobra.Command) {
			c := new(command)
			flags := cmd.PersistentFlags()
			flags.StringVar(&c.address, "address", "", "address of the admin endpoint")
			flags.StringVarP(&c.config, "config", "c", "", "configuration file with the admin address")
			flags.StringVarP(&c.adapter, "adapter", "a", "", "configuration adapter to apply to it")
			flags.StringVar(&c.issuer, "issuer", "", "URL of the issuer, where there are several")
			flags.BoolVar(&c.json, "json", false, "print JSON")
			cmd.AddCommand(c.client(), c.user(), c.application(), c.authorization(), c.token(), c.registrationToken(), c.key(), c.secret(), c.explain())
		},
	})
}

// command is "caddy oauth" with what all its commands share.
type command struct {
	address, config, adapter, issuer string
	json                             bool
}

// requestTimeout bounds a request to the admin endpoint, which has no timeout of
// its own.
const requestTimeout = 30 * time.Second

// call sends a request to the admin API and returns the answer. body may be nil.
func (c *command) call(method, path string, body any) (json.RawMessage, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return nil, err
	}
	uri := adminBase + path
	if c.issuer != "" {
		uri += "?issuer=" + url.QueryEscape(c.issuer)
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(encoded)
	}
	type answer struct {
		data json.RawMessage
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		response, err := caddycmd.AdminAPIRequest(address, method, uri, http.Header{"Accept": {"application/json"}}, reader)
		if err != nil {
			answered <- answer{err: readable(address, err)}
			return
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		answered <- answer{data, err}
	}()
	select {
	case a := <-answered:
		return a.data, a.err
	case <-time.After(requestTimeout):
		return nil, fmt.Errorf("the admin endpoint at %s did not answer within %s", address, requestTimeout)
	}
}

// readable makes one plain line of what Caddy's client reports.
func readable(address string, err error) error {
	text := err.Error()
	if strings.Contains(text, "connection refused") || strings.Contains(text, "no such file") {
		return fmt.Errorf("no Caddy answers at the admin endpoint %s; is it running? (--address names another one)", address)
	}
	_, body, found := strings.Cut(text, "caddy responded with error: HTTP ")
	if !found {
		return err
	}
	status, encoded, _ := strings.Cut(body, ": ")
	answer := struct {
		Error string `json:"error"`
	}{}
	if json.Unmarshal([]byte(encoded), &answer) != nil || answer.Error == "" {
		return fmt.Errorf("the server answered with HTTP %s", status)
	}
	return errors.New(answer.Error)
}

// print writes the answer as JSON or, decoded into v, as table does.
func (c *command) print(cmd *cobra.Command, answer json.RawMessage, v any, table func(*tabwriter.Writer)) error {
	out := cmd.OutOrStdout()
	if c.json {
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(answer), "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, indented.String())
		return err
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// group is a command that only has commands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}
