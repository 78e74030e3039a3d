package bolt

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the database to w: a file that [Open]
// accepts, with everything in it that the database has, keys included. Writes go
// on meanwhile.
//
// The copy is made beside the database first, since a slow reader of w must not
// keep a transaction open, and has as much space there as the database. When ctx
// ends, Backup stops with ctx.Err(), and what w got is not a whole copy.
func (s *Storage) Backup(ctx context.Context, w io.Writer) error {
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(temporaryPattern(s.path)))
	if err != nil {
		return unavailable(s.path, "cannot be copied", err)
	}
	defer f.Close()
	// First the name, so that nothing stays behind if the process dies. Where
	// an open file cannot be removed, it is removed at the end.
	if err := os.Remove(f.Name()); err != nil {
		defer os.Remove(f.Name())
	}
	err = s.view(ctx, func(t *tx) error {
		_, err := t.bolt.WriteTo(ended{ctx, f})
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return unavailable(s.path, "cannot be copied", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return unavailable(s.path, "cannot be copied", err)
	}
	_, err = io.Copy(ended{ctx, w}, f)
	return err
}

// ended is a writer that fails when its context has ended.
type ended struct {
	ctx context.Context
	w   io.Writer
}

func (e ended) Write(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.w.Write(p)
}
