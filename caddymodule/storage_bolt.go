package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

func init() { caddy.RegisterModule(new(BoltStorage)) }

// Storage is a guest module of the namespace oauth.storage.
type Storage interface {
	// Place names where the records are, and nothing else: two configurations
	// with the same place share one open storage.
	Place() string

	// Open opens the storage. It is called once per process and place, after
	// provisioning.
	Open() (storage.Storage, error)
}

// BoltStorage keeps clients, keys, grants and revocations in one file. It is the
// default and needs nothing prepared: the file and its directory are made at
// the first start, readable by the user that runs Caddy and nobody else.
//
// One process at a time can use the file. "caddy oauth" commands therefore talk
// to the running server, or with --offline open the file of a stopped one.
type BoltStorage struct {
	// Path of the file. Default: oauth.db in Caddy's data directory.
	// Placeholders of the environment and of files are allowed.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*BoltStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oauth.storage.bolt", New: func() caddy.Module { return new(BoltStorage) }}
}

// Provision resolves the path.
func (b *BoltStorage) Provision(ctx caddy.Context) error {
	if b.Path == "" {
		b.Path = filepath.Join(caddy.AppDataDir(), "oauth.db")
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(b.Path, true, true)
	if err != nil {
		return fmt.Errorf("path of the OAuth storage: %w", err)
	}
	if b.Path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("path of the OAuth storage: %w", err)
	}
	if info, err := os.Stat(b.Path); err == nil && openToOthers(info) {
		ctx.Slogger().Warn("other users of this machine may open the OAuth storage, in which the signing keys are; its mode should be 0600",
			"path", b.Path, "mode", info.Mode().Perm().String())
	}
	return nil
}

// Place implements Storage: the path, with links of its directory resolved.
func (b *BoltStorage) Place() string {
	if directory, err := filepath.EvalSymlinks(filepath.Dir(b.Path)); err == nil {
		return "bolt:" + filepath.Join(directory, filepath.Base(b.Path))
	}
	return "bolt:" + b.Path
}

// Open implements Storage.
func (b *BoltStorage) Open() (storage.Storage, error) {
	return bolt.Open(b.Path, bolt.Options{})
}

// UnmarshalCaddyfile reads
//
//	storage bolt {
//		path <file>
//	}
func (b *BoltStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // module name
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, b.unmarshalOption)
}

func (b *BoltStorage) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "path":
		return oneArgument(d, &b.Path)
	default:
		return unknownOption(d, "storage bolt", "path")
	}
}

var (
	_ Storage               = (*BoltStorage)(nil)
	_ caddy.Provisioner     = (*BoltStorage)(nil)
	_ caddyfile.Unmarshaler = (*BoltStorage)(nil)
)
