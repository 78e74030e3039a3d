package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// errServerRuns: a command wanted a storage that a server has open.
var errServerRuns = errors.New("the server is running")

// stoppedStorage is the storage of a server that does not run, for a command that
// opens it in its place.
type stoppedStorage struct{ Storage }

// Open is that of the Storage, except that it makes no file where there is none,
// as a command does that runs with another HOME than the server, and opens none
// that belongs to another user: the files that it might leave beside it, or in its
// place, could not be used by the server. It fails with errServerRuns where the
// storage tells that it is in use.
func (s stoppedStorage) Open() (storage.Storage, error) {
	if file, ok := s.Storage.(*BoltStorage); ok {
		if err := file.usable(); err != nil {
			return nil, err
		}
	}
	store, err := s.Storage.Open()
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %w", errServerRuns, err)
	}
	return store, err
}

// usable tells whether a command may open the file.
func (b *BoltStorage) usable() error {
	switch info, err := os.Stat(b.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no storage at %s: run this as the user that runs the server, with the same HOME and XDG_DATA_HOME, or name the file with the path of storage bolt", b.Path)
	case err != nil:
		return err
	default:
		return belongsToCaller(b.Path, info)
	}
}

// silence makes Caddy's log one of errors: commands tell the operator themselves
// what matters. caddy.Stop ends it.
func silence() error {
	return caddy.Run(&caddy.Config{Admin: noAdmin(), Logging: errorsOnly()})
}

func noAdmin() *caddy.AdminConfig {
	return &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
}

func errorsOnly() *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
}

// oauthConfig reads the oauth app from the configuration file of a server. Without
// a name it is the Caddyfile of this directory, as for "caddy run".
func oauthConfig(file, adapter string) (json.RawMessage, error) {
	config, file, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if file == "" && config == nil {
		return nil, errors.New("name the configuration file of the server with --config")
	}
	var parsed struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, err
	}
	app := parsed.Apps["oauth"]
	if app == nil {
		return nil, fmt.Errorf("%s configures no OAuth issuer: it has no oauth block in its global options", file)
	}
	return app, nil
}

// configuredStorage returns the storage of an oauth app's configuration, not
// opened. It calls for silence.
func configuredStorage(config json.RawMessage) (Storage, error) {
	app := new(App)
	if err := json.Unmarshal(config, app); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(caddy.ActiveContext())
	defer cancel()
	if err := app.loadStorage(ctx); err != nil {
		return nil, err
	}
	return app.storage, nil
}
