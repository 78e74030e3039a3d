package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/node"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/browsertest/oidcclients"
)

const librariesCaddyfile = `{
	oauth {
		issuer $GATE {
			scope orders:read
			scope orders:write
			registration open {
				scope openid profile offline_access orders:read
				refresh_token always
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect /orders {
		resource $GATE/orders
		scope GET orders:read
		scope * orders:write
	}
	oauth_protect /mcp {
		resource $GATE/mcp
		scope * orders:read
	}
	reverse_proxy $BACKEND
}
`

// TestClientLibraries: client libraries by other people find the server out,
// register, sign alice in, and get through the gate with what they got.
func TestClientLibraries(t *testing.T) {
	node.Install(t) // once, not for each of those that start together
	backend := httptest.NewServer(http.HandlerFunc(serveModelContext))
	t.Cleanup(backend.Close)
	s := start(t, librariesCaddyfile, backend.Listener.Addr().String())
	s.person()
	added := s.adminCall("POST", "/oauth/clients", map[string]any{
		"client_id": "web", "client_name": "Web", "grant_types": []string{"authorization_code", "refresh_token", "client_credentials"},
		"scope": "openid profile offline_access orders:read", "redirect_uris": []string{"http://127.0.0.1/callback"},
		"post_logout_redirect_uris": []string{"http://127.0.0.1/callback"},
	})
	added.want(t, 200)
	server := oidcclients.Server{
		Issuer: s.url, API: s.url + "/orders", MCP: s.url + "/mcp",
		ClientID: "web", ClientSecret: added.member(t, "client_secret"),
	}
	t.Run("of", func(t *testing.T) { // all of them, before the server ends
		for _, library := range oidcclients.Libraries() {
			t.Run(library, func(t *testing.T) {
				t.Parallel()
				alice := s.browser()
				alice.t = t
				oidcclients.Run(t, library, server, func(address string) string { return alice.agree(s.url, address) })
			})
		}
	})
}

// agree goes to an address of the issuer, does what its pages ask for, and returns
// where that led: an address of a client, or the issuer's own.
func (p *person) agree(issuer, address string) string {
	p.t.Helper()
	p.at = ""
	p.open(address)
	if strings.Contains(p.page, `value="continue"`) {
		_, code, _ := strings.Cut(address, "user_code=")
		p.press(issuer+"/device", "continue", "user_code", code)
	}
	if strings.Contains(p.page, `value="login"`) {
		p.signIn(issuer)
	}
	if strings.Contains(p.page, `value="allow"`) && p.at == "" {
		page := issuer + "/consent"
		if strings.HasPrefix(address, issuer+"/device") {
			page = issuer + "/device"
		}
		p.press(page, "allow")
	}
	if p.at == "" {
		return address
	}
	return p.at
}

// serveModelContext is an API, and as much of a server of the Model Context
// Protocol as its clients call. It answers whom the gate has let through and
// nobody else.
func serveModelContext(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Auth-Client") == "" || r.Header.Get("Authorization") != "" {
		http.Error(w, "not from the gate", http.StatusInternalServerError)
		return
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Version string `json:"protocolVersion"`
		} `json:"params"`
	}
	switch {
	case r.URL.Path == "/orders":
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed) // it has nothing to say unasked
		return
	case json.NewDecoder(r.Body).Decode(&call) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case call.ID == nil: // a notification
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := map[string]any{}
	if call.Method == "initialize" {
		result = map[string]any{
			"protocolVersion": call.Params.Version, "capabilities": map[string]any{},
			"serverInfo": map[string]any{"name": "test", "version": "1"},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": result})
}
