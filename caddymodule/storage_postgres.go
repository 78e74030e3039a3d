package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres"
)

func init() { caddy.RegisterModule(new(PostgresStorage)) }

// PostgresStorage keeps clients, keys, grants and revocations in PostgreSQL, so
// that several nodes can issue and accept tokens together. The nodes hear of each
// other's revocations and keys within a second; one that has lost touch with the
// database for some time refuses what could have been revoked.
//
// Its schema is made and migrated at start. CockroachDB, YugabyteDB and managed
// services that speak PostgreSQL's protocol may do; this module is tested with
// PostgreSQL 15.
type PostgresStorage struct {
	// Connection string, as a URL or as parameters:
	// postgres://gate@db.example.com/gate?sslmode=verify-full. What it leaves out
	// comes from the environment (PGHOST, PGPASSWORD and so on). Placeholders of
	// the environment and of files are allowed. A connection that could leave
	// the machine unencrypted is refused, unless sslmode is named.
	Connection string `json:"connection" placeholders:"Provision"`

	// Password, instead of one in the connection string. Placeholders are allowed
	// and the best place for it: {file./run/secrets/db}.
	Password string `json:"password,omitempty" placeholders:"Provision"`

	// Schema of the database. Default: oauth_gate.
	Schema string `json:"schema,omitempty"`

	// Connections at most for transactions; one more listens. Default: 10.
	Connections int `json:"connections,omitempty"`

	// Timeout of a statement. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	config postgres.Config
}

// CaddyModule returns the Caddy module information.
func (*PostgresStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oauth.storage.postgres", New: func() caddy.Module { return new(PostgresStorage) }}
}

// Provision checks the configuration without connecting.
func (p *PostgresStorage) Provision(ctx caddy.Context) error {
	if err := refusePlaceholders(p); err != nil {
		return fmt.Errorf("storage postgres: %w", err)
	}
	repl := caddy.NewReplacer()
	connection, err := repl.ReplaceOrErr(p.Connection, true, true)
	if err != nil {
		return fmt.Errorf("connection of the OAuth storage: %w", err)
	}
	password, err := repl.ReplaceOrErr(p.Password, true, true)
	if err != nil {
		return fmt.Errorf("password of the OAuth storage: %w", err)
	}
	if connection == "" {
		return errors.New("storage postgres needs a connection, such as postgres://gate@db.example.com/gate?sslmode=verify-full")
	}
	p.config = postgres.Config{
		Connection: connection, Password: strings.TrimRight(password, "\r\n"), Schema: p.Schema,
		Connections: p.Connections, StatementTimeout: time.Duration(p.Timeout),
	}
	hosts, err := p.config.Unencrypted()
	if err != nil {
		return err
	}
	if len(hosts) > 0 {
		ctx.Logger().Warn("the connection to the OAuth storage is not encrypted: who is on the way can read and change everything in it, signing keys included",
			zap.Strings("hosts", hosts))
	}
	return nil
}

// Place implements Storage: a digest of what leads to the records, without the
// password.
func (p *PostgresStorage) Place() string {
	where := p.config.Connection
	if u, err := url.Parse(where); err == nil && u.User != nil {
		u.User = url.User(u.User.Username())
		where = u.String()
	}
	digest := sha256.Sum256([]byte(where + "\x00" + p.config.Schema))
	return "postgres:" + hex.EncodeToString(digest[:])
}

// Open implements Storage.
func (p *PostgresStorage) Open() (storage.Storage, error) {
	return postgres.Open(context.Background(), p.config)
}

// UnmarshalCaddyfile reads
//
//	storage postgres {
//		connection  <string>
//		password    <text>
//		schema      <name>
//		connections <number>
//		timeout     <duration>
//	}
func (p *PostgresStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // module name
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, p.unmarshalOption)
}

func (p *PostgresStorage) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "connection":
		return oneArgument(d, &p.Connection)
	case "password":
		return oneArgument(d, &p.Password)
	case "schema":
		return oneArgument(d, &p.Schema)
	case "connections":
		var text string
		if err := oneArgument(d, &text); err != nil {
			return err
		}
		var err error
		if p.Connections, err = strconv.Atoi(text); err != nil || p.Connections < 2 {
			return d.Errf("connections %s: want a number, at least 2", text)
		}
		return nil
	case "timeout":
		return duration(d, &p.Timeout)
	default:
		return unknownOption(d, "storage postgres", "connection connections password schema timeout")
	}
}

var (
	_ Storage               = (*PostgresStorage)(nil)
	_ caddy.Provisioner     = (*PostgresStorage)(nil)
	_ caddyfile.Unmarshaler = (*PostgresStorage)(nil)
)
