package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// TestCORS: pages of the origins that are named may call and read the answers,
// and no others (Fetch Standard §3.2).
func TestCORS(t *testing.T) {
	b := startBackend(t)
	s := start(t, gateWith("cors https://app.example.com http://localhost:3000", "scope * api:read"), b.address)
	token := s.forge("at+jwt", nil)
	const app = "Origin: https://app.example.com"
	preflight := func(origin string) []string {
		return []string{origin, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization,x-custom_1"}
	}

	t.Run("preflight", func(t *testing.T) {
		for _, test := range []struct {
			must, method string
			headers      []string
			status       int
			allow        map[string]string
		}{
			{"an origin that is named is told yes, without a token", "OPTIONS", preflight(app), 204, map[string]string{
				"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "PUT",
				"Access-Control-Allow-Headers": "authorization,x-custom_1", "Access-Control-Max-Age": "600",
			}},
			{"a port is a part of it", "OPTIONS", preflight("Origin: http://localhost:3000"), 204, map[string]string{
				"Access-Control-Allow-Origin": "http://localhost:3000",
			}},
			{"another port is another origin", "OPTIONS", preflight("Origin: http://localhost:3001"), 204, nil},
			{"another scheme is another origin", "OPTIONS", preflight("Origin: http://app.example.com"), 204, nil},
			{"an origin that begins the same", "OPTIONS", preflight(app + ".evil.example"), 204, nil},
			{"an origin that ends the same", "OPTIONS", preflight("Origin: https://evilapp.example.com"), 204, nil},
			{"null, which sandboxed pages of anybody have", "OPTIONS", preflight("Origin: null"), 204, nil},
			{"two origins", "OPTIONS", append(preflight(app), "Origin: https://evil.example"), 204, nil},
			{"a method that is no list of tokens is not repeated", "OPTIONS", []string{app, "Access-Control-Request-Method: <script>"}, 204, map[string]string{
				"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "",
			}},
			{"no Origin: no preflight, so it needs a token", "OPTIONS", []string{"Access-Control-Request-Method: PUT"}, 401, nil},
			{"no method asked for: no preflight", "OPTIONS", []string{app}, 401, nil},
			{"another method is no preflight", "GET", preflight(app), 401, nil},
			{"a token does not make it another request", "OPTIONS", append(preflight(app), bearer(token)), 204, nil},
		} {
			t.Run(test.must, func(t *testing.T) {
				a := s.send(test.method, "/api/x", "", test.headers...)
				a.want(t, test.status)
				b.none(t)
				for name, want := range test.allow {
					if got := a.Header.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				if test.status == 204 && test.allow == nil && !strings.Contains(test.must, "token does not") {
					for name := range a.Header {
						if strings.HasPrefix(name, "Access-Control-") {
							t.Errorf("who may not call is told %s: %s", name, a.Header.Get(name))
						}
					}
				}
				if credentials := a.Header.Get("Access-Control-Allow-Credentials"); credentials != "" {
					t.Error("cookies are allowed")
				}
				contains(t, strings.Join(a.Header["Vary"], ", "), "Origin") // or a cache gives one origin the answer of another
			})
		}
	})

	t.Run("refusals can be read by the page", func(t *testing.T) {
		a := s.send("GET", "/api/x", "", app)
		a.want(t, 401)
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
			t.Errorf("Access-Control-Allow-Origin %q", got)
		}
		contains(t, a.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate", "X-Request-Id")
		if got := s.send("GET", "/api/x", "", "Origin: https://evil.example").Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("a page of another origin may read a refusal: %s", got)
		}
	})
}

// TestCORSOfBackend: where the gate speaks of origins, the API behind it does not.
func TestCORSOfBackend(t *testing.T) {
	api := startAPI(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Add("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "X-Secret")
		h.Set("Vary", "Accept")
		w.WriteHeader(http.StatusTeapot)
	})
	for _, test := range []struct {
		option, origin string
		allowed        []string
		vary           []string
	}{
		{"cors https://app.example.com", "https://app.example.com", []string{"https://app.example.com"}, []string{"Accept", "Origin"}},
		{"cors https://APP.example.com", "https://app.example.com", []string{"https://app.example.com"}, []string{"Accept", "Origin"}},
		{"cors https://app.example.com", "https://evil.example", nil, []string{"Accept", "Origin"}},
		{"cors https://app.example.com", "", nil, []string{"Accept", "Origin"}},
		{"cors *", "https://any.example", []string{"*"}, []string{"Accept"}},
		{"", "https://any.example", []string{"*", "https://any.example"}, []string{"Accept"}}, // without the option it is the API's say
	} {
		t.Run(test.option+" for "+test.origin, func(t *testing.T) {
			s := start(t, gateWith(test.option), api)
			headers := []string{bearer(s.forge("at+jwt", nil))}
			if test.origin != "" {
				headers = append(headers, "Origin: "+test.origin)
			}
			a := s.send("GET", "/api/x", "", headers...)
			a.want(t, http.StatusTeapot)
			if got := a.Header["Access-Control-Allow-Origin"]; strings.Join(got, "|") != strings.Join(test.allowed, "|") {
				t.Errorf("Access-Control-Allow-Origin %q, want %q", got, test.allowed)
			}
			if test.option != "" && a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("the API allows cookies")
			}
			contains(t, strings.Join(a.Header["Vary"], ", "), test.vary...)
		})
	}
}
