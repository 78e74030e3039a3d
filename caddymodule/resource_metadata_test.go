package caddymodule

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestResourceMetadata: a client that knows only the URL of an API finds out whom
// to ask for a token, and for which scopes (RFC 9728).
func TestResourceMetadata(t *testing.T) {
	b := startBackend(t)
	const global = `{
	oauth {
		issuer $GATE {
			scope a
			scope b
			scope c
		}
	}
}
`
	for _, test := range []struct {
		name, site string
		resource   string // behind $GATE
		at         string // where the metadata is
		scopes     []string
	}{
		{"of a resource with a path, RFC 9728 §3.1: between host and path", `
			oauth_protect /api/* {
				resource $GATE/api
				scope GET a
				any_scope * b c
			}`, "/api", "/.well-known/oauth-protected-resource/api", []string{"a", "b", "c"}},
		{"of a resource that is a whole host", `
			oauth_protect {
				resource $GATE
			}`, "", "/.well-known/oauth-protected-resource", nil},
		{"of a host, with a slash", `
			oauth_protect {
				resource $GATE/
			}`, "/", "/.well-known/oauth-protected-resource", nil},
		{"of a resource with a query, which is a part of the place", `
			oauth_protect {
				resource $GATE/api?tenant=2
				scope * a
			}`, "/api?tenant=2", "/.well-known/oauth-protected-resource/api?tenant=2", []string{"a"}},
		{"of a path that is escaped", `
			oauth_protect {
				resource $GATE/caf%C3%A9
			}`, "/caf%C3%A9", "/.well-known/oauth-protected-resource/caf%C3%A9", nil},
		{"inside handle, by a directive of its own", `
			oauth_resource_metadata $GATE/api
			handle /api/* {
				oauth_protect {
					resource $GATE/api
					scope * a
				}
				reverse_proxy $BACKEND
			}`, "/api", "/.well-known/oauth-protected-resource/api", []string{"a"}},
		{"of two gates of one resource: what both ask for, each once", `
			oauth_protect /api/one/* {
				resource $GATE/api
				scope * a b
			}
			oauth_protect /api/two/* {
				resource $GATE/api
				scope * b c
			}`, "/api", "/.well-known/oauth-protected-resource/api", []string{"a", "b", "c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, global+"\n$GATE {\n\toauth_issuer /token"+test.site+"\n\treverse_proxy $BACKEND\n}\n", b.address)
			challenged := s.send("GET", "/api/one/x", "")
			challenged.want(t, 401)
			place := regexp.MustCompile(`resource_metadata="([^"]+)"`).FindStringSubmatch(challenged.Header.Get("WWW-Authenticate"))
			if place == nil || place[1] != s.url+test.at {
				t.Fatalf("the challenge points to %q, want %s", place, s.url+test.at)
			}
			a := s.send("GET", place[1], "")
			a.want(t, 200)
			var document struct {
				Resource string
				Servers  []string `json:"authorization_servers"`
				Scopes   []string `json:"scopes_supported"`
				Methods  []string `json:"bearer_methods_supported"`
			}
			if err := json.Unmarshal([]byte(a.body), &document); err != nil {
				t.Fatal(err)
			}
			// RFC 9728 §3.3: a client MUST NOT use it if the resource is another one.
			if document.Resource != s.url+test.resource || !slices.Equal(document.Servers, []string{s.url}) || !slices.Equal(document.Scopes, test.scopes) ||
				!slices.Equal(document.Methods, []string{"header"}) {
				t.Errorf("%+v", document)
			}
			if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%v", a.Header)
			}
			b.none(t)
		})
	}
}

func TestResourceMetadataRequests(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	const place = "/.well-known/oauth-protected-resource/api"
	for _, test := range []struct {
		must, method, path string
		headers            []string
		status             int
	}{
		{"GET", "GET", place, nil, 200},
		{"a slash at the end", "GET", place + "/", nil, 200},
		{"HEAD", "HEAD", place, nil, 200},
		{"other methods are not allowed", "POST", place, nil, 405},
		{"OPTIONS without asking for a method is no preflight", "OPTIONS", place, []string{"Origin: https://a.example"}, 405},
		{"browsers ask first, where a client adds a header of its protocol", "OPTIONS", place,
			[]string{"Origin: https://a.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: mcp-protocol-version"}, 204},
	} {
		a := s.send(test.method, test.path, "", test.headers...)
		a.want(t, test.status)
		b.none(t)
		if a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: a page cannot read it", test.must)
		}
		if test.status == 405 && a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow %q (RFC 9110 §15.5.6)", test.must, a.Header.Get("Allow"))
		}
	}
	contains(t, s.send("OPTIONS", place, "", "Origin: https://a.example", "Access-Control-Request-Method: GET").Header.Get("Access-Control-Allow-Headers"), "*")

	t.Run("it does not follow the Host header", func(t *testing.T) {
		a := s.raw(t, "GET "+place+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(s.url, "http://")+"\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nConnection: close\r\n\r\n", 1)[0]
		a.want(t, 200)
		if strings.Contains(a.body, "evil") {
			t.Error(a.body)
		}
	})
	t.Run("metadata off", func(t *testing.T) {
		if err := s.load(gateWith("metadata off")); err != nil {
			t.Fatal(err)
		}
		if a := s.send("GET", place, ""); strings.Contains(a.body, "authorization_servers") {
			t.Errorf("it is published: %s", a.body)
		}
		if challenge := s.send("GET", "/api/x", "").Header.Get("WWW-Authenticate"); strings.Contains(challenge, "resource_metadata") {
			t.Errorf("the challenge points to what is not there: %s", challenge)
		}
	})
	t.Run("two resources that differ in their query", func(t *testing.T) {
		site := "\tresource $GATE/api?tenant=1\n\t}\n\toauth_protect /other/* {\n\t\tresource $GATE/api?tenant=2"
		if err := s.load(strings.Replace(gateWith(), "\tresource $GATE/api", site, 1)); err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{"?tenant=1", "?tenant=2"} {
			a := s.send("GET", place+query, "")
			a.want(t, 200)
			if got := a.member(t, "resource"); got != s.url+"/api"+query {
				t.Errorf("%s describes %s (RFC 9728 §3.3)", query, got)
			}
		}
	})
}
