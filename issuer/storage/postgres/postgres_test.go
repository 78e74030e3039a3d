package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/storagetest"
)

// server is shared by the tests that do not stop it; each has schemas of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = postgrestest.Launch(false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

var backend = storagetest.Backend{
	Place: func(*testing.T) func(*testing.T) storage.Storage {
		config := newConfig()
		return func(t *testing.T) storage.Storage { return open(t, config) }
	},
}

func TestStorage(t *testing.T) { storagetest.Run(t, backend) }

func TestFollower(t *testing.T) {
	storagetest.RunFollower(t, func(*testing.T) func(*testing.T) storage.Follower {
		config := newConfig()
		return func(t *testing.T) storage.Follower { return open(t, config) }
	})
}

// An operator goes from one file to a cluster, and back.
func TestCopy(t *testing.T) {
	storagetest.Copy(t, backend, storagetest.Backend{
		Place: func(t *testing.T) func(*testing.T) storage.Storage {
			path := filepath.Join(t.TempDir(), "oauth.db")
			return func(t *testing.T) storage.Storage { return openBolt(t, path) }
		},
	})
}

// Half a copy lacks revocations: no server may start on it.
func TestUnfinishedCopyIsNotOpened(t *testing.T) {
	config, path := newConfig(), filepath.Join(t.TempDir(), "oauth.db")
	interrupt := func(from, to storage.Storage) {
		ctx, cancel := context.WithCancel(t.Context())
		err := from.Update(ctx, func(tx storage.Tx) error { return tx.Put("code", "a", nil, time.Time{}) })
		if err = errors.Join(err, storage.Copy(ctx, from, to, func(int) { cancel() })); !errors.Is(err, context.Canceled) {
			t.Fatalf("Copy = %v, want context.Canceled", err)
		}
		if err := errors.Join(from.Close(), to.Close()); err != nil {
			t.Fatal(err)
		}
	}
	interrupt(open(t, newConfig()), openBolt(t, path))
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("bolt.Open = %v, want ErrDamaged", err)
	}
	interrupt(openBolt(t, filepath.Join(t.TempDir(), "oauth.db")), open(t, config))
	if _, err := Open(t.Context(), config); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("Open = %v, want ErrDamaged", err)
	}
}

func openBolt(t testing.TB, path string) *bolt.Storage {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatalf("bolt.Open: %v", err)
	}
	return s
}

// newConfig is the configuration of a storage that does not exist yet. The name
// of its schema has to be quoted.
func newConfig() Config {
	name := rand.Text()
	return Config{Connection: server.URL() + "&application_name=" + name, Schema: `a "test" ` + name}
}

// open opens a storage; whoever calls it closes it.
func open(t testing.TB, config Config) *Storage {
	t.Helper()
	s, err := Open(context.Background(), config)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// opened opens a storage for the time of the test.
func opened(t testing.TB, config Config) *Storage {
	t.Helper()
	s := open(t, config)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// beside is a connection beside those of the storages.
func beside(t testing.TB, connection string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), connection)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// execute runs SQL; "@" is the schema of the storage.
func execute(t testing.TB, conn interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, s *Storage, sql string, arguments ...any) (affected int64) {
	t.Helper()
	rows, err := conn.Query(context.Background(), inSchema(s.config.Schema, sql), arguments...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return rows.CommandTag().RowsAffected()
}

func put(ctx context.Context, s *Storage, kind, key, value string) error {
	return s.Update(ctx, func(tx storage.Tx) error { return tx.Put(kind, key, []byte(value), time.Time{}) })
}

func get(ctx context.Context, s *Storage, kind, key string) (value string, err error) {
	err = s.View(ctx, func(tx storage.Tx) error {
		got, err := tx.Get(kind, key)
		value = string(got)
		return err
	})
	return value, err
}

// terminate ends the sessions of a storage whose last statement was like query,
// and returns how many there were.
func terminate(t testing.TB, admin *pgx.Conn, s *Storage, query string) int64 {
	t.Helper()
	return execute(t, admin, s, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND application_name = $1 AND query LIKE $2`, s.pool.Config().ConnConfig.RuntimeParams["application_name"], query)
}
