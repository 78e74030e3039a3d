package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// TestRegistrationCommands: an operator makes a token with the command, a program
// registers with it once, and another one waits for an approval.
func TestRegistrationCommands(t *testing.T) {
	const caddyfile = `{
	oauth {
		issuer $GATE {
			scope read "Read"
			registration MODE {
				scope openid read
			}
		}
	}
}

$GATE {
	oauth_issuer
}
`
	const metadata = `{"redirect_uris": ["https://app.test/cb"], "client_name": "App"}`
	register := func(s *server, headers ...string) answer {
		return s.send("POST", "/register", metadata, append(headers, "Content-Type: application/json")...)
	}
	t.Run("token", func(t *testing.T) {
		s := newServer(t, "")
		s.serve(strings.Replace(caddyfile, "MODE", "token", 1))
		made := s.run("oauth", "--address", s.admin, "registration-token", "create", "--json")
		token := answer{body: made.stdout}.member(t, "token")
		register(s).want(t, http.StatusUnauthorized)
		register(s, bearer(token)).want(t, http.StatusCreated)
		register(s, bearer(token)).want(t, http.StatusUnauthorized)
		contains(t, s.run("oauth", "--address", s.admin, "client", "list").stdout, "App", "authorization_code")
		if strings.Contains(s.log(), token) {
			t.Error("the token stands in the log")
		}
	})
	t.Run("approval", func(t *testing.T) {
		s := newServer(t, "")
		s.serve(strings.Replace(caddyfile, "MODE", "approval", 1))
		a := register(s)
		a.want(t, http.StatusCreated)
		id, secret := a.member(t, "client_id"), a.member(t, "client_secret")
		s.tokenRequest(id, secret).want(t, http.StatusUnauthorized) // it waits
		list := s.run("oauth", "--address", s.admin, "application", "list").stdout
		lines := strings.Split(strings.TrimSpace(list), "\n")
		reference := strings.Fields(lines[len(lines)-1])[0]
		approved := s.run("oauth", "--address", s.admin, "application", "approve", reference)
		contains(t, approved.stdout, id, "enabled")
		// It is known now, and has no grant that needs nobody (RFC 6749 §5.2).
		again := s.tokenRequest(id, secret)
		again.want(t, http.StatusBadRequest)
		if code := again.member(t, "error"); code != "unauthorized_client" {
			t.Errorf("error %q", code)
		}
	})
}
