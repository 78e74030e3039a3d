package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// storage is "caddy oauth storage".
func (c *command) storage() *cobra.Command {
	return group("storage", "Looks after the storage", c.storageCheck(), c.storageCopy())
}

func (c *command) storageCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [<storage>]",
		Short: "Reads everything in a storage and lists what is damaged",
		Long: `
Reads every record in the storage of the running server, with --offline in that of
the stopped server that --config describes, or in the one that is named: a backup,
say. It is bolt:<path>, which is not written to, or a postgres:// URL.

Exit status 0 means that every record is what was written. PostgreSQL is read up
to the first damaged record.`,
		Example: `  caddy oauth storage check
  caddy oauth storage check --offline --config /etc/caddy/Caddyfile
  caddy oauth storage check bolt:/var/backups/oauth.db`,
		Args: atMostArguments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer progress(cmd.ErrOrStderr(), func() string { return "reading" })()
			answer, err := c.checkStorage(cmd.Context(), args)
			if err != nil {
				return err
			}
			return c.printFaults(cmd, answer)
		},
	}
	c.withOffline(cmd)
	return cmd
}

// atMostArguments, other than cobra's, does not quote one too many: it may be a
// URL with a password.
func atMostArguments(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("there are %d arguments, want at most %d", len(args), n)
		}
		return nil
	}
}

// checkStorage checks the storage that is meant, in the server or here.
func (c *command) checkStorage(ctx context.Context, args []string) (json.RawMessage, error) {
	if len(args) == 0 && !c.offline {
		return c.callPatiently(ctx, http.MethodGet, "storage/check", nil)
	}
	spec := storageSpec("config")
	if len(args) > 0 {
		spec = storageSpec(args[0])
	}
	found, err := c.checkHere(ctx, spec)
	if err != nil {
		return nil, err
	}
	return json.Marshal(found)
}

// checkHere checks a storage that no server uses. One that cannot even be opened
// for its damage has one fault.
func (c *command) checkHere(ctx context.Context, spec storageSpec) (*storageFaults, error) {
	if err := silence(); err != nil {
		return nil, err
	}
	defer func() { _ = caddy.Stop() }()
	named, err := c.storageNamed(spec)
	if err != nil {
		return nil, err
	}
	if file, ok := named.(*BoltStorage); ok && spec != "config" {
		remove, err := file.apart()
		if err != nil {
			return nil, err
		}
		defer remove()
	}
	store, err := stoppedStorage{named}.Open()
	switch {
	case errors.Is(err, errServerRuns) && spec == "config":
		return nil, fmt.Errorf("%w: leave --offline out", errServerRuns)
	case errors.Is(err, storage.ErrDamaged):
		found := new(storageFaults)
		found.add("", "", err)
		return found, nil
	case err != nil:
		return nil, err
	}
	found, err := checkNonEmpty(ctx, store)
	return found, cmp.Or(err, store.Close())
}

// checkNonEmpty is checkStorage for a storage that somebody has named.
func checkNonEmpty(ctx context.Context, store storage.Storage) (*storageFaults, error) {
	if err := refuseEmpty(ctx, store); err != nil && !errors.Is(err, storage.ErrDamaged) {
		return nil, err
	}
	return checkStorage(ctx, store)
}

// apart gives the file another name, in a directory of its own: what opening a
// storage leaves beside it has no place beside a backup.
func (b *BoltStorage) apart() (remove func(), err error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "oauth-check-")
	if err != nil {
		return nil, err
	}
	link := filepath.Join(directory, filepath.Base(b.Path))
	if err := os.Symlink(b.Path, link); err != nil {
		return nil, cmp.Or(err, os.RemoveAll(directory))
	}
	b.Path = link
	return func() { _ = os.RemoveAll(directory) }, nil
}

// printFaults lists what is damaged; then the command has failed.
func (c *command) printFaults(cmd *cobra.Command, answer json.RawMessage) error {
	var found storageFaults
	err := c.print(cmd, answer, &found, func(w *tabwriter.Writer) {
		if found.Count == 0 {
			fmt.Fprintln(w, "Every record is what was written.")
			return
		}
		fmt.Fprintln(w, "KIND\tKEY\tFAULT")
		for _, f := range found.Listed {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Kind, f.Key, f.Fault)
		}
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &found); err != nil { // print with --json does not
		return err
	}
	if found.Count > 0 {
		return fmt.Errorf("the storage is damaged (%s): restore a backup", counted(found.Count, "fault"))
	}
	return nil
}

func (c *command) storageCopy() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "copy --from <storage> --to <storage>",
		Short: "Copies a storage into an empty one, while no server uses them",
		Long: `
Copies all records from one storage to another, which must be empty: from a file
into PostgreSQL, say, or back. Stop the servers that use them. A storage is

  bolt:<path>               a file of storage bolt; as a target, it is made
  postgres://<user>@...     a database; ?sslmode=... as for storage postgres
  config                    the one in the configuration file of --config

Leave the password out of the URL, which others on the machine can read while the
command runs: it is taken from PGPASSWORD, or from a placeholder in the URL such as
{env.DB_PASSWORD} or {file./run/secrets/db}.

A copy that fails leaves its target unusable until it is removed.`,
		Example: `  caddy oauth storage copy --from config --config /etc/caddy/Caddyfile --to 'postgres://gate:{file./run/secrets/db}@db.example.com/gate?sslmode=verify-full'
  caddy oauth storage copy --from bolt:/var/backups/oauth.db --to config --config /etc/caddy/Caddyfile`,
		Args: atMostArguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var done atomic.Int64
			defer progress(cmd.ErrOrStderr(), func() string { return fmt.Sprintf("%s copied", counted(int(done.Load()), "record")) })()
			if err := c.copyStorage(cmd.Context(), storageSpec(from), storageSpec(to), &done); err != nil {
				return err
			}
			return c.print(cmd, fmt.Appendf(nil, `{"records": %d}`, done.Load()), new(any), func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "Copied %s.\n", counted(int(done.Load()), "record"))
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "storage to copy")
	flags.StringVar(&to, "to", "", "empty storage to copy it into")
	cobra.CheckErr(cmd.MarkFlagRequired("from"))
	cobra.CheckErr(cmd.MarkFlagRequired("to"))
	return cmd
}

// copyStorage copies and counts.
func (c *command) copyStorage(ctx context.Context, from, to storageSpec, done *atomic.Int64) (err error) {
	if err := silence(); err != nil {
		return err
	}
	defer func() { _ = caddy.Stop() }()
	source, err := c.storageNamed(from)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	target, err := c.storageNamed(to)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if source.Place() == target.Place() {
		return errors.New("--from and --to are the same storage")
	}
	opened, err := stoppedStorage{source}.Open()
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { err = cmp.Or(err, opened.Close()) }()
	if err := refuseEmpty(ctx, opened); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	written, err := openTarget(target)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	defer func() { err = cmp.Or(err, written.Close()) }()
	return storage.Copy(ctx, opened, written, func(records int) { done.Store(int64(records)) })
}

// openTarget opens the target of a copy, which need not exist.
func openTarget(target Storage) (storage.Storage, error) {
	file, ok := target.(*BoltStorage)
	if !ok {
		return target.Open()
	}
	if _, err := os.Lstat(file.Path); errors.Is(err, fs.ErrNotExist) {
		return file.Open()
	}
	return stoppedStorage{file}.Open()
}

// refuseEmpty refuses a source that has nothing: it is not the one that is meant,
// and a database gets a schema when it is opened.
func refuseEmpty(ctx context.Context, store storage.Storage) error {
	source, ok := store.(storage.Exporter)
	if !ok {
		return storage.ErrNoExport
	}
	errFound := errors.New("found")
	err := source.Export(ctx, func(storage.Record) error { return errFound })
	switch {
	case errors.Is(err, errFound):
		return nil
	case err == nil:
		return errors.New("it is empty; is it the right one?")
	}
	return err
}
