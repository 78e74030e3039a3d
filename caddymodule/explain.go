package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// explanation is what a gate would decide about a request, and why.
type explanation struct {
	Method   string `json:"method"`
	URL      string `json:"url"`
	Reached  bool   `json:"reached"`          // a gate was on the way of the request
	Answered int    `json:"answered"`         // status of whoever answered, where no gate was
	Resource string `json:"resource"`         //
	Passes   bool   `json:"passes"`           //
	Open     string `json:"open,omitempty"`   // why no token is needed
	Reported bool   `json:"report_only"`      // nothing is refused, whatever is decided
	Status   int    `json:"status,omitempty"` // of the refusal
	Error    string `json:"error,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Decided  string `json:"decided_by,omitempty"` // the line of the Caddyfile, or the option in JSON
	Scope    string `json:"needed_scope,omitempty"`

	Challenge string          `json:"www_authenticate,omitempty"`
	Questions []question      `json:"questions"`
	Token     *explainedToken `json:"token,omitempty"`
}

// question is one check with its outcome: yes, no, open or not asked.
type question struct {
	Question string `json:"question"`
	Outcome  string `json:"outcome"`
	Line     string `json:"line,omitempty"`
}

// explainedToken is what an active token grants.
type explainedToken struct {
	Issuer   string    `json:"issuer"`
	Subject  string    `json:"subject"`
	ClientID string    `json:"client_id"`
	Audience []string  `json:"audience"`
	Scope    string    `json:"scope"`
	Actor    string    `json:"actor,omitempty"`
	Expiry   time.Time `json:"expiry"`
	ID       string    `json:"token_id"`
}

// explanationKey finds, in a request's context, the explanation that it wants
// instead of an answer.
type explanationKey struct{}

// explained answers a request that wants an explanation: what the gate would
// decide, without deciding it. Such requests come from the admin endpoint and
// never from a client.
func explained(p *Protect, v *visit) bool {
	x, ok := v.request.Context().Value(explanationKey{}).(*explanation)
	if !ok {
		return false
	}
	// The context has ended, so that no handler on the way asks anybody. The gate
	// may.
	v.request = v.request.WithContext(context.WithoutCancel(v.request.Context()))
	v.noted = func(asked *check, refused *refusal) {
		q := question{asked.name, "yes", p.lineOf(asked.option)}
		switch {
		case refused != nil:
			q.Outcome, q.Line = "no", p.decidedBy(refused)
		case v.open != "":
			q.Outcome = "open"
		}
		x.Questions = append(x.Questions, q)
	}
	var refused *refusal
	if p.CORS.isPreflight(v.request) {
		v.open = "preflight"
	} else {
		refused = p.gate.decide(v)
	}
	for _, unasked := range p.gate[len(x.Questions):] {
		x.Questions = append(x.Questions, question{unasked.name, "not asked", p.lineOf(unasked.option)})
	}
	x.Reached, x.Resource, x.Passes, x.Open, x.Reported = true, p.Resource, refused == nil, v.open, p.ReportOnly
	if token := v.token; token != nil {
		x.Token = &explainedToken{
			token.Issuer, token.Subject, token.ClientID, token.Audience, joinScope(token.Scope), actorText(token), token.Expiry, token.ID,
		}
	}
	if refused != nil {
		x.Status, x.Error, x.Reason, x.Scope = refused.status, refused.code, refused.Error(), refused.scope
		x.Decided = p.decidedBy(refused)
		if refused.challenged {
			x.Challenge = p.challenge(refused).String()
		}
	}
	return true
}

// explain sends a request along the routes of the configuration in force, as far
// as the first gate. Handlers before it act as they always do, but for their
// context, which has ended: a proxy on the way asks nobody.
func explain(ctx caddy.Context, x *explanation, token string, header http.Header) error {
	target, err := url.Parse(x.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return errors.New("want the URL of a request, such as https://api.example.com/orders/7")
	}
	server, err := serverOf(ctx, target)
	if err != nil {
		return err
	}
	ended, end := context.WithCancel(context.WithValue(context.Background(), explanationKey{}, x))
	end()
	r, err := http.NewRequestWithContext(ended, x.Method, x.URL, http.NoBody)
	if err != nil {
		return err
	}
	r.RequestURI, r.RemoteAddr = target.RequestURI(), "127.0.0.1:0"
	r.URL = &url.URL{Path: target.Path, RawPath: target.RawPath, RawQuery: target.RawQuery} // as a server sees it
	if target.Scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: target.Hostname()}
	}
	for name, values := range header {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if x.Answered = w.Code; x.Reached {
		x.Answered = 0
	}
	return nil
}

// serverOf returns the server that listens where a URL points.
func serverOf(ctx caddy.Context, target *url.URL) (*caddyhttp.Server, error) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil, fmt.Errorf("no HTTP server is configured: %w", err)
	}
	servers := app.(*caddyhttp.App)
	port := target.Port()
	if port == "" {
		port = fmt.Sprint(map[string]int{"http": defaultPort(servers.HTTPPort, 80), "https": defaultPort(servers.HTTPSPort, 443)}[target.Scheme])
	}
	var listening []string
	for _, server := range servers.Servers {
		for _, address := range server.Listen {
			listening = append(listening, address)
			if network, err := caddy.ParseNetworkAddress(address); err == nil && listensOn(network, port) {
				return server, nil
			}
		}
	}
	return nil, fmt.Errorf("no server of this Caddy listens on port %s of %s; there is: %s", port, target.Hostname(), strings.Join(listening, ", "))
}

func defaultPort(configured, usual int) int {
	if configured != 0 {
		return configured
	}
	return usual
}

func listensOn(address caddy.NetworkAddress, port string) bool {
	for offset := range address.PortRangeSize() {
		if _, listens, err := net.SplitHostPort(address.JoinHostPort(offset)); err == nil && listens == port {
			return true
		}
	}
	return false
}
