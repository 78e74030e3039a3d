package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says where the records are and how patient the storage is. Only
// Connection has to be set; zero means the default.
type Config struct {
	// Connection is a connection string as of libpq: a URL,
	//
	//	postgres://gate@db.example.com:5432/gate?sslmode=verify-full
	//
	// or parameters, "host=db.example.com user=gate dbname=gate". What it leaves
	// out comes from the environment (PGHOST, PGPASSWORD, PGSSLMODE and so on),
	// the service file and the password file. With several hosts the first one
	// that accepts writes is used.
	//
	// TLS follows sslmode. Where the connection could leave this machine
	// unencrypted, that has to be asked for by naming the mode (disable, allow
	// or prefer); see [Config.Unencrypted].
	Connection string

	// Password, if set, is used instead of that of Connection, which then can
	// be shown to anyone.
	Password string

	// Schema is that of the database in which the records are kept; another
	// name is another storage. Default: oauth_gate.
	Schema string

	// Connections is how many connections transactions may use; Follow has one
	// of its own beside them. Default: 10; at least 2.
	Connections int

	// QueueLength is how many transactions may wait for a connection; one more
	// gets [storage.ErrBusy]. Default: 1024.
	QueueLength int

	// ConnectTimeout bounds making a connection to one host. Default: 5 seconds,
	// or the connect_timeout of Connection.
	ConnectTimeout time.Duration

	// WaitTimeout is how long a transaction waits for a connection before it
	// fails with [storage.ErrBusy], or with [storage.ErrUnavailable] if none can
	// be made. Default: 5 seconds.
	WaitTimeout time.Duration

	// StatementTimeout bounds one statement, COMMIT included; then the
	// transaction fails with [storage.ErrUnavailable]. The server keeps it, and
	// the storage itself a second later, in case the network swallows the
	// answer. Default: 5 seconds.
	StatementTimeout time.Duration

	// LockTimeout bounds waiting for another transaction's lock; then the
	// transaction fails with [storage.ErrBusy]. Default: 3 seconds.
	LockTimeout time.Duration

	// IdleTimeout is after how long without a statement the server ends a
	// transaction, whose node may have stopped. Default: 15 seconds.
	IdleTimeout time.Duration
}

// DefaultSchema is the schema where [Config] names none.
const DefaultSchema = "oauth_gate"

// grace is how much longer the storage waits than the server should.
const grace = time.Second

func (c Config) withDefaults() Config {
	if c.Schema == "" {
		c.Schema = DefaultSchema
	}
	if c.Connections <= 0 {
		c.Connections = 10
	}
	c.Connections = max(c.Connections, 2)
	if c.QueueLength <= 0 {
		c.QueueLength = 1024
	}
	defaultTo(&c.WaitTimeout, 5*time.Second)
	defaultTo(&c.StatementTimeout, 5*time.Second)
	defaultTo(&c.LockTimeout, 3*time.Second)
	defaultTo(&c.IdleTimeout, 15*time.Second)
	return c
}

func defaultTo(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Validate tells what is wrong with the configuration, without connecting: a
// connection string that cannot be read, a schema that PostgreSQL would not
// take, a connection that may be unencrypted although nobody asked for that.
// No message quotes the connection string.
func (c Config) Validate() error {
	_, err := c.withDefaults().parse()
	return err
}

// Unencrypted returns the hosts, other than this machine, to which the
// connection may go in clear: everything in the storage, signing keys included,
// can then be read and changed on the way. It is worth a warning at each start.
// The error is that of Validate.
func (c Config) Unencrypted() (hosts []string, err error) {
	parsed, err := c.withDefaults().parse()
	if err != nil {
		return nil, err
	}
	return unencrypted(parsed.ConnConfig), nil
}

// parse makes the pool's configuration.
func (c Config) parse() (*pgxpool.Config, error) {
	if len(c.Schema) > 63 || strings.ContainsRune(c.Schema, 0) || strings.HasPrefix(c.Schema, "pg_") {
		return nil, fmt.Errorf("storage/postgres: the schema name %q is longer than 63 bytes or reserved (pg_)", c.Schema)
	}
	parsed, err := pgxpool.ParseConfig(c.Connection)
	if err != nil || spilled(c.Connection) {
		// pgx quotes the string, and where it is malformed nobody can tell
		// which part of it is the password.
		return nil, errors.New("storage/postgres: the connection string cannot be read, or names a file that cannot be: " +
			"want postgres://user@host:5432/database?sslmode=verify-full or host=... user=... dbname=..., " +
			"with special characters of a password percent-encoded or left to Password")
	}
	if hosts := unencrypted(parsed.ConnConfig); len(hosts) > 0 && !namesSSLMode(c.Connection) {
		return nil, fmt.Errorf("storage/postgres: the connection to %s could be unencrypted: name an sslmode, best verify-full, or disable if the network is trusted",
			strings.Join(hosts, ", "))
	}
	if c.Password != "" {
		parsed.ConnConfig.Password = c.Password
	}
	switch {
	case c.ConnectTimeout > 0:
		parsed.ConnConfig.ConnectTimeout = c.ConnectTimeout
	case parsed.ConnConfig.ConnectTimeout <= 0:
		parsed.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if parsed.ConnConfig.ValidateConnect == nil {
		// A standby would refuse writes and, worse, answer reads of the past.
		parsed.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if parsed.ConnConfig.RuntimeParams["application_name"] == "" {
		parsed.ConnConfig.RuntimeParams["application_name"] = "caddy-oauth-gate"
	}
	parsed.MaxConns = int32(min(c.Connections, 10_000))
	parsed.PingTimeout = 2 * time.Second
	parsed.MaxConnLifetimeJitter = 5 * time.Minute
	return parsed, nil
}

// spilled tells whether the URL can be read, but perhaps not as it was meant: a
// password with an @ or a / in it that is not percent-encoded ends there, and
// its rest becomes the host or the database, which messages name.
func spilled(connection string) bool {
	_, rest, ok := strings.Cut(connection, "://")
	if !ok {
		return false
	}
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' { // where libpq sees the end of the user
		rest, _, _ = strings.Cut(rest[i+1:], "?")
	}
	return strings.Contains(rest, "@")
}

// unencrypted returns the hosts to which an attempt to connect without TLS
// would leave the machine.
func unencrypted(config *pgx.ConnConfig) (hosts []string) {
	note := func(host string, encrypted bool) {
		if !encrypted && !local(host) && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	note(config.Host, config.TLSConfig != nil)
	for _, fallback := range config.Fallbacks {
		note(fallback.Host, fallback.TLSConfig != nil)
	}
	return hosts
}

// local tells whether a host is this machine: a socket in the file system, or
// loopback.
func local(host string) bool {
	if network, _ := pgconn.NetworkAddress(host, 5432); network == "unix" || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

var sslModeParameter = regexp.MustCompile(`(?:^|\s)sslmode\s*=`)

// namesSSLMode tells whether the operator chose an sslmode.
func namesSSLMode(connection string) bool {
	if os.Getenv("PGSSLMODE") != "" {
		return true
	}
	if !strings.Contains(connection, "://") {
		return sslModeParameter.MatchString(connection)
	}
	u, err := url.Parse(connection)
	return err == nil && u.Query().Has("sslmode")
}

// prepareSession sets what every session of the storage relies on.
func (c Config) prepareSession(ctx context.Context, conn *pgx.Conn) error {
	settings := []struct{ name, value string }{
		{"statement_timeout", milliseconds(c.StatementTimeout)},
		{"lock_timeout", milliseconds(c.LockTimeout)},
		{"idle_in_transaction_session_timeout", milliseconds(c.IdleTimeout)},
		// A sequential scan reads, and thus locks for SERIALIZABLE, the records
		// of everybody else; the planner would choose it while tables are small.
		{"enable_seqscan", "off"},
		{"jit", "off"},
	}
	var sql strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&sql, "SET %s = '%s'; ", s.name, s.value)
	}
	// What was acknowledged is durable, whatever the database or the role is
	// set to; stronger settings (remote_apply) stay.
	sql.WriteString("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	_, err := conn.Exec(ctx, sql.String())
	return err
}

func milliseconds(d time.Duration) string { return fmt.Sprint(max(d.Milliseconds(), 1)) }
