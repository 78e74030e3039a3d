package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres"
)

// errStorageSpec does not quote what was given: a password may stand in it.
var errStorageSpec = errors.New("name a storage as bolt:/path/of/the/file, as postgres://user@host/database, or as config for the one in the file of --config")

// storageSpec is how commands name a storage:
//
//	bolt:<path>
//	postgres://<user>@<host>/<database>
//	config
//
// Placeholders are replaced in the first two, and percent-encoded where they
// stand in a URL; one alone may hold the whole of it. config is the storage of the
// oauth block in the configuration file.
type storageSpec string

// bolt returns the path of the file, if the storage is one.
func (s storageSpec) bolt() (path string, ok bool) { return strings.CutPrefix(string(s), "bolt:") }

// storageNamed returns the storage that a command names, not opened. It calls for
// silence.
func (c *command) storageNamed(spec storageSpec) (Storage, error) {
	if spec == "config" {
		config, err := oauthConfig(c.config, c.adapter)
		if err != nil {
			return nil, err
		}
		return configuredStorage(config)
	}
	spec, err := spec.resolve()
	if err != nil {
		return nil, err
	}
	if path, ok := spec.bolt(); ok && path != "" {
		file := &BoltStorage{Path: path}
		return file, file.Provision(caddy.ActiveContext())
	}
	if !spec.postgres() {
		return nil, errStorageSpec
	}
	database := &PostgresStorage{config: postgres.Config{Connection: string(spec)}}
	return database, database.config.Validate()
}

func (s storageSpec) postgres() bool {
	return strings.HasPrefix(string(s), "postgres://") || strings.HasPrefix(string(s), "postgresql://")
}

// resolve replaces placeholders.
func (s storageSpec) resolve() (storageSpec, error) {
	resolved, err := caddy.NewReplacer().ReplaceFunc(string(s), func(name string, value any) (any, error) {
		text := strings.TrimRight(fmt.Sprint(value), "\r\n")
		switch {
		case value == nil || text == "":
			return nil, fmt.Errorf("the placeholder {%s} is empty or not known", name)
		case s.postgres():
			// PathEscape would leave an @, at which the password would end.
			return strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), nil
		}
		return text, nil
	})
	return storageSpec(resolved), err
}
