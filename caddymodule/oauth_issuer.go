package caddymodule

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(IssuerHandler))
	httpcaddyfile.RegisterHandlerDirective("oauth_issuer", parseIssuerHandler)
	httpcaddyfile.RegisterDirectiveOrder("oauth_issuer", httpcaddyfile.Before, "basic_auth")
}

// IssuerHandler serves the endpoints of an issuer: /token, /introspect,
// /revoke, its metadata and its keys, all under the path of the issuer's URL.
// Requests for anything else go on to the next handler, so that an issuer and a
// site can share a host.
//
// Requests with a query, and answers with a Location, are left out of Caddy's access
// log, because of the codes and hints in them: a line without these is written by
// the logger http.handlers.oauth_issuer in its place.
//
// An issuer's answers are JSON of its own, as the RFCs have them, errors too;
// handle_errors does not see them.
type IssuerHandler struct {
	// Issuer is the URL of the issuer to serve. With one issuer it can be left
	// out.
	Issuer string `json:"issuer,omitempty"`

	app    *App
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*IssuerHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oauth_issuer", New: func() caddy.Module { return new(IssuerHandler) }}
}

// Provision finds the issuer.
func (h *IssuerHandler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = oauthApp(ctx); err != nil {
		return err
	}
	h.logger = ctx.Logger()
	h.Issuer, err = h.app.named(h.Issuer)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *IssuerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	issuer, err := h.app.issuer(r.Context(), h.Issuer)
	if err != nil {
		return refuse(w, r, unavailable(err))
	}
	if !issuer.Serves(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	recorder, begun := caddyhttp.NewResponseRecorder(w, nil, nil), time.Now()
	issuer.ServeHTTP(recorder, r)
	h.logWithoutSecrets(recorder, r, begun)
	return nil
}

// parseIssuerHandler reads
//
//	oauth_issuer [<matcher>] [<url>]
func parseIssuerHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(IssuerHandler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive; see parseIssuerHandler.
func (h *IssuerHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		h.Issuer = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("oauth_issuer has no options; issuers are configured in the global option oauth")
	}
	return nil
}

var (
	_ caddy.Provisioner           = (*IssuerHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*IssuerHandler)(nil)
	_ caddyfile.Unmarshaler       = (*IssuerHandler)(nil)
)
