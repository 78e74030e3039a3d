package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// download is an answer of the admin API that is not JSON. It writes the whole
// answer, or returns an error.
type download func(io.Writer) error

// backupStorage answers with a copy of the storage as of one moment:
//
//	GET /oauth/backup
//
// It is a file for storage bolt, whatever the server's own storage is, and has all
// in it: the private signing keys, too.
func backupStorage(r *adminRequest) (any, error) {
	store, err := r.storage()
	if err != nil {
		return nil, err
	}
	return download(func(w io.Writer) error { return writeBackup(r.Context(), store, w) }), nil
}

// storage returns the open storage of the configuration in force.
func (r *adminRequest) storage() (storage.Storage, error) {
	app, err := oauthApp(r.caddy)
	if err != nil {
		return nil, err
	}
	if len(app.configs) == 0 {
		return nil, errors.New("no issuer is configured, so there is no storage")
	}
	if _, err := app.open(r.Context()); err != nil {
		return nil, err
	}
	opened := app.vault.opened.Load()
	if opened == nil {
		return nil, errVaultClosed
	}
	return opened.store, nil
}

// writeBackup writes a file that bolt.Open accepts.
func writeBackup(ctx context.Context, store storage.Storage, w io.Writer) error {
	if file, ok := store.(*bolt.Storage); ok {
		return file.Backup(ctx, w)
	}
	directory, err := os.MkdirTemp("", "oauth-backup-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "oauth.db")
	if err := copyToFile(ctx, store, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func copyToFile(ctx context.Context, from storage.Storage, path string) error {
	to, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	return cmp.Or(storage.Copy(ctx, from, to, nil), to.Close())
}

// writeDownload writes an answer whose length is not known before. If it fails
// after the first byte the connection is cut, since the client would otherwise take
// what it got for the whole.
func (a *AdminAPI) writeDownload(w http.ResponseWriter, d download) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	begun := &firstByte{w: w}
	err := d(begun)
	if err != nil && begun.written {
		a.logger.Error("a download was cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		return adminError(err)
	}
	return nil
}

// firstByte tells whether anything was written.
type firstByte struct {
	w       io.Writer
	written bool
}

func (f *firstByte) Write(p []byte) (int, error) {
	f.written = true
	return f.w.Write(p)
}
