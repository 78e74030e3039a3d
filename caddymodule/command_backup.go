package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// backup is "caddy oauth backup".
func (c *command) backup() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup <file>|-",
		Short: "Writes a copy of the running server's storage to a file",
		Long: `
Writes a copy of the storage as of one moment, while the server goes on. The copy
is a file for storage bolt, also where the server keeps its records in PostgreSQL.
To restore it, stop the server and put the file in the place of its storage, or
copy it with "caddy oauth storage copy".

The file has all in it, the private signing keys too: keep it as well as the
server itself. With - it goes to standard output, which must not be a terminal.`,
		Example: `  caddy oauth backup /var/backups/oauth.db
  caddy oauth backup - | age -r age1... > oauth.db.age`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			endpoint, err := c.endpoint()
			if err != nil {
				return err
			}
			b := &backup{progress: cmd.ErrOrStderr(), open: func() (io.ReadCloser, error) {
				response, err := endpoint.request(http.MethodGet, c.uri("backup"), nil)
				if err != nil {
					return nil, err
				}
				return response.Body, nil
			}}
			if args[0] == "-" {
				return b.pipe(os.Stdout)
			}
			size, err := b.write(args[0], force)
			if err != nil {
				return err
			}
			return c.printBackup(cmd, backupAnswer{args[0], size})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

// backupAnswer is the JSON of a backup.
type backupAnswer struct {
	File string `json:"file"`
	Size int64  `json:"bytes"`
}

func (c *command) printBackup(cmd *cobra.Command, made backupAnswer) error {
	encoded, err := json.Marshal(made)
	if err != nil {
		return err
	}
	return c.print(cmd, encoded, &made, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "Wrote %s, %d bytes. The signing keys are in it: keep it as well as the server.\n", made.File, made.Size)
	})
}

// backup is one run of the command.
type backup struct {
	progress io.Writer
	open     func() (io.ReadCloser, error) // what the server sends
}

// pipe writes the copy to standard output.
func (b *backup) pipe(out *os.File) error {
	if term.IsTerminal(int(out.Fd())) {
		return errors.New("a backup is not for a terminal: name a file, or send standard output somewhere")
	}
	_, err := b.receive(out)
	return err
}

// receive writes what the server sends. An answer that was cut off is an error.
func (b *backup) receive(to io.Writer) (int64, error) {
	var got atomic.Int64
	defer progress(b.progress, func() string { return fmt.Sprintf("%d bytes received", got.Load()) })()
	from, err := b.open()
	if err != nil {
		return 0, err
	}
	defer from.Close()
	n, err := io.Copy(io.MultiWriter(to, byteCount{&got}), from)
	if err != nil {
		return n, fmt.Errorf("the backup is not whole: %w", err)
	}
	return n, nil
}

type byteCount struct{ n *atomic.Int64 }

func (c byteCount) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// write makes the file. It is written under another name and synced first, so that
// the name stands for a whole backup at any moment.
func (b *backup) write(path string, replace bool) (size int64, err error) {
	if err := mayWrite(path, replace); err != nil {
		return 0, err
	}
	partial := path + ".partial"
	// One that was left by an interrupted run would otherwise end all later ones.
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	if size, err = b.receive(f); err == nil {
		err = f.Sync()
	}
	mine, statErr := f.Stat()
	err = cmp.Or(err, statErr, f.Close())
	if named, gone := os.Lstat(partial); gone != nil || statErr != nil || !os.SameFile(mine, named) {
		return 0, cmp.Or(err, fmt.Errorf("%s was taken away: is another backup being made?", partial))
	}
	if err == nil {
		err = mayWrite(path, replace) // it has taken a while
	}
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		_ = os.Remove(partial) // it is not a backup, whether it goes or not
		return 0, err
	}
	return size, syncDirectory(filepath.Dir(path))
}

// mayWrite refuses to replace a file unasked.
func mayWrite(path string, replace bool) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case !replace:
		return fmt.Errorf("%s is there already (--force replaces it)", path)
	}
	return nil
}

// syncDirectory makes the names in a directory durable. Windows does so itself.
func syncDirectory(directory string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
