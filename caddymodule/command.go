package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "oauth",
		Short: "Manages clients, people, tokens and keys of the OAuth issuer",
		Long: `
Manages the OAuth issuer of a running Caddy through its admin endpoint, found as
"caddy reload" finds it: --address, else the admin address in --config, else
localhost:2019. With --offline the commands that manage something work on the
storage of a stopped one, which --config describes.

Results are tables for people, or with --json one JSON document for programs.
Exit status: 0 done, 1 not done, with one line on standard error that says why.`,
		CobraFunc: func(cmd *cobra.Command) {
			c := new(command)
			cmd.RunE = onlyCommands
			flags := cmd.PersistentFlags()
			flags.StringVar(&c.address, "address", "", "address of the admin endpoint")
			flags.StringVarP(&c.config, "config", "c", "", "configuration file of the server")
			flags.StringVarP(&c.adapter, "adapter", "a", "", "configuration adapter to apply to it")
			flags.StringVar(&c.issuer, "issuer", "", "URL of the issuer, where there are several")
			flags.BoolVar(&c.json, "json", false, "print JSON")
			cmd.AddCommand(c.withOffline(c.client(), c.user(), c.application(), c.authorization(), c.token(), c.registrationToken(), c.key())...)
			cmd.AddCommand(c.secret(), c.explain(), c.probe(), c.health(), c.backup(), c.storage())
		},
	})
}

// command is "caddy oauth" with what all its commands share.
type command struct {
	address, config, adapter, issuer string
	json, offline                    bool
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
	// A tabwriter tells of a failed write at one of its calls and not again at its end, so it writes where none fails.
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 4, 2, ' ', 0)
	table(w)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, tame(aligned.String()))
	return err
}

// tame takes out of lines what acts on a terminal, or on whoever reads them there:
// strangers name themselves, and another issuer names what is in its tokens.
func tame(lines string) string {
	all := strings.Split(lines, "\n")
	for n, line := range all {
		all[n] = audit.Bounded(line, len(line))
	}
	return strings.Join(all, "\n")
}

// withOffline gives commands, and those below them, the flag --offline.
func (c *command) withOffline(commands ...*cobra.Command) []*cobra.Command {
	for _, cmd := range commands {
		cmd.PersistentFlags().BoolVar(&c.offline, "offline", false, "work on the storage of a stopped server, which --config describes")
	}
	return commands
}

// group is a command that only has commands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: onlyCommands}
	cmd.AddCommand(commands...)
	return cmd
}

// onlyCommands is what a command does that only has commands: without it, a
// misspelt one would show the help and be taken for done. What was written is not
// repeated: it may be a token.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, one := range cmd.Commands() {
		if one.IsAvailableCommand() {
			names = append(names, one.Name())
		}
	}
	return fmt.Errorf("unknown command of %q; there is: %s", cmd.CommandPath(), strings.Join(names, ", "))
}
