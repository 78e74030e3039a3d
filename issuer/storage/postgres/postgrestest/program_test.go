package postgrestest

import (
	"strings"
	"testing"
)

// Where PostgreSQL is missing the test says what to install, and does not skip.
func TestMissing(t *testing.T) {
	if path, err := find("no-such-program"); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("find = %q, %v; want an error that names the package", path, err)
	}
}

// Of several versions the newest is taken, by number.
func TestVersion(t *testing.T) {
	for path, want := range map[string]int{"/usr/lib/postgresql/15/bin/initdb": 15, "/usr/pgsql-9/bin/initdb": 9, "/usr/bin/initdb": 0} {
		if got := version(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// The address stays when the server is stopped and started, and a socket needs
// no password.
func TestServer(t *testing.T) {
	s := Start(t)
	before := s.URL()
	for _, immediately := range []bool{true, false} {
		if err := s.Stop(immediately); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if s.URL() != before {
		t.Errorf("the URL has changed from %s to %s", before, s.URL())
	}
	if strings.Contains(s.SocketURL(), s.Password()) || !strings.Contains(s.Log(), "ready to accept connections") {
		t.Errorf("SocketURL %s, log %s", s.SocketURL(), s.Log())
	}
}
