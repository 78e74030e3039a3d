package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// TestKeyRevoke: an operator takes the key back that signs. It asks first, it is in
// force on the next request, and the log has a line.
func TestKeyRevoke(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	oauth := func(arguments ...string) outcome {
		t.Helper()
		return p.run(append([]string{"oauth", "key", "--address", p.admin}, arguments...)...)
	}
	listed := func() (infos []keys.Info) {
		t.Helper()
		if err := json.Unmarshal([]byte(oauth("list", "--json").stdout), &infos); err != nil {
			t.Fatal(err)
		}
		return infos
	}
	token := p.appToken()
	p.send("GET", "/api/x", "", bearer(token)).want(t, 200)
	kid := listed()[0].ID

	ran := oauth("revoke", "--", kid)
	if ran.status != 1 || len(listed()) != 1 || listed()[0].ID != kid {
		t.Errorf("without --yes and a terminal: exit status %d, %v", ran.status, listed())
	}
	contains(t, ran.stderr, "use --yes")
	ran = oauth("revoke", "--yes", "nobody")
	if ran.status != 1 {
		t.Error("a key that is not there was revoked")
	}
	contains(t, ran.stderr, "not found")
	contains(t, oauth("revoke", "-nobody").stderr, "comes after --")

	ran = oauth("revoke", "--yes", "--", kid)
	if ran.status != 0 {
		t.Fatal(ran.stderr)
	}
	contains(t, ran.stdout, "STATE", "SIGNS FROM", "active")
	p.send("GET", "/api/x", "", bearer(token)).want(t, 401)
	if jwks := p.send("GET", "/.well-known/jwks.json", "").body; strings.Contains(jwks, kid) || !strings.Contains(jwks, listed()[0].ID) {
		t.Errorf("the JWKS is %s", jwks)
	}
	p.send("GET", "/api/x", "", bearer(p.appToken())).want(t, 200)
	contains(t, p.log(), "/oauth/keys/"+kid+"/revoke")
}

// TestConfirm: nothing but a yes is a yes.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]error{
		"y\n": nil, "yes\n": nil, "Y\r\n": nil, " YES \n": nil, "y": nil,
		"\n": errNotConfirmed, "": errNotConfirmed, "n\n": errNotConfirmed, "no\n": errNotConfirmed, "yess\n": errNotConfirmed, "ja\ny\n": errNotConfirmed,
	} {
		var asked strings.Builder
		if err := confirm(strings.NewReader(answer), &asked, "Sure?"); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
		if asked.String() != "Sure? [y/N] " {
			t.Errorf("it asks %q", asked.String())
		}
	}
	if err := confirm(brokenReader{}, io.Discard, "Sure?"); err == nil {
		t.Error("an answer that could not be read is a yes")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }
