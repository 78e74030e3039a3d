package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// A connection that could leave the machine in clear has to be asked for.
func TestUnencrypted(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	t.Setenv("PGHOST", "")
	for connection, want := range map[string]struct {
		hosts   []string
		refused bool
	}{
		"postgres://gate@db.example.com/gate":                                        {refused: true},
		"host=db.example.com user=gate":                                              {refused: true},
		"host=db.example.com user=gate password='x sslmode'":                         {refused: true},
		"postgres://gate@10.0.0.1/gate?application_name=sslmode":                     {refused: true},
		"postgres://gate@localhost,db.example.com/gate":                              {refused: true},
		"postgres://gate@db.example.com/gate?sslmode=disable":                        {hosts: []string{"db.example.com"}},
		"postgres://gate@db.example.com/gate?sslmode=prefer":                         {hosts: []string{"db.example.com"}},
		"postgres://gate@db.example.com/gate?sslmode=allow":                          {hosts: []string{"db.example.com"}},
		"host=db.example.com user=gate sslmode = disable":                            {hosts: []string{"db.example.com"}},
		"postgres://gate@127.0.0.1,db.example.com,db2.example.com/g?sslmode=disable": {hosts: []string{"db.example.com", "db2.example.com"}},
		"postgres://gate@db.example.com/gate?sslmode=require":                        {},
		"postgres://gate@db.example.com/gate?sslmode=verify-full":                    {},
		"postgres://gate@db.example.com/gate?ssl=true":                               {},
		"postgres://gate@localhost/gate":                                             {},
		"postgres://gate@127.8.0.1/gate":                                             {},
		"postgres://gate@[::1]/gate":                                                 {},
		"host=/var/run/postgresql user=gate":                                         {},
	} {
		hosts, err := Config{Connection: connection}.Unencrypted()
		if (err != nil) != want.refused || !slices.Equal(hosts, want.hosts) {
			t.Errorf("%s: %v, %v; want %v, refused: %v", connection, hosts, err, want.hosts, want.refused)
		}
	}
}

// Names that PostgreSQL would cut off or refuse.
func TestSchemaNames(t *testing.T) {
	for schema, ok := range map[string]bool{
		"": true, "oauth_gate": true, `a "b" ç`: true, strings.Repeat("a", 63): true,
		strings.Repeat("a", 64): false, "pg_gate": false, "a\x00b": false,
	} {
		if err := (Config{Connection: server.URL(), Schema: schema}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", schema, err)
		}
	}
}

// Errors end in logs and in support requests; the password must not.
func TestPasswordIsNotShown(t *testing.T) {
	const canary = "c4n4ry%/p4ssw0rd@s3cret w0rld?"
	parts := []string{"c4n4ry", "p4ssw0rd", "s3cret", "w0rld"}
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	host := u.Host
	escaped := strings.ReplaceAll(url.QueryEscape(canary), "+", "%20")
	newer := newConfig()
	execute(t, beside(t, server.URL()), opened(t, newer), `UPDATE @.storage SET schema = 2`)
	for name, config := range map[string]Config{
		"wrong, in the URL":       {Connection: "postgres://gate:" + escaped + "@" + host + "/postgres?sslmode=disable"},
		"wrong, as a parameter":   {Connection: "postgres://gate@" + host + "/postgres?sslmode=disable&password=" + escaped},
		"wrong, on its own":       {Connection: "postgres://gate:other@" + host + "/postgres", Password: canary},
		"not escaped":             {Connection: "postgres://gate:" + canary + "@" + host + "/postgres"},
		"@ not escaped":           {Connection: "postgres://gate:c4n4ry@p4ssw0rd@" + host + "/postgres?sslmode=disable"},
		"/ not escaped":           {Connection: "postgres://gate:1/c4n4ry@" + host + "/postgres?sslmode=disable"},
		"/ and ? not escaped":     {Connection: "postgres://gate:1/?c4n4ry@" + host + "/postgres&sslmode=disable"},
		"in the place of a port":  {Connection: "postgres://gate@127.0.0.1:c4n4ry/postgres"},
		"quote not closed":        {Connection: "host=127.0.0.1 password='" + canary},
		"not quoted":              {Connection: "host=127.0.0.1 password=" + canary},
		"nobody there":            {Connection: "postgres://gate:" + escaped + "@127.0.0.1:1/postgres"},
		"no such host":            {Connection: "postgres://gate:" + escaped + "@nowhere.invalid/postgres?sslmode=disable"},
		"no encryption asked for": {Connection: "postgres://gate:" + escaped + "@db.example.com/postgres"},
		"bad sslmode":             {Connection: "postgres://gate:" + escaped + "@127.0.0.1/postgres?sslmode=c4n4ry"},
		"no such database":        {Connection: strings.Replace(server.URL(), "/postgres?", "/none?", 1)},
		"other schema version":    newer,
	} {
		config.ConnectTimeout, config.WaitTimeout = time.Second, 2*time.Second
		s, err := Open(t.Context(), config)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
			continue
		}
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%#v", errors.Unwrap(err))} {
			for _, secret := range append(parts, server.Password()) {
				if strings.Contains(shown, secret) {
					t.Errorf("%s: %q is in %s", name, secret, shown)
				}
			}
			if strings.Contains(shown, "\n") {
				t.Errorf("%s: more than one line: %s", name, shown)
			}
		}
	}
}

// What the issuer cannot have is not available; and it says where that was.
func TestOpenUnavailable(t *testing.T) {
	_, err := Open(t.Context(), Config{Connection: "postgres://gate@127.0.0.1:1/gate"})
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "database gate at 127.0.0.1:1") {
		t.Errorf("Open = %v, want ErrUnavailable that names the place", err)
	}
}
