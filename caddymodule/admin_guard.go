package caddymodule

import (
	"errors"
	"mime"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// checkForm refuses a mutation that a page of another origin could send without
// asking first: what a form can send, and what no-cors can. A POST therefore says
// application/json even if it has no body. Caddy refuses a foreign Origin and Host
// before this, and more strictly; this holds where it lets all hosts in.
func checkForm(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodDelete && r.Header["Content-Type"] == nil && r.ContentLength == 0 {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header["Content-Type"]) != 1 || mediaType != "application/json" {
		return caddy.APIError{HTTPStatus: http.StatusUnsupportedMediaType, Err: errors.New("send application/json")}
	}
	return nil
}

var errAdminAPIOff = errors.New("the admin API of OAuth is switched off by admin_api off in the configuration; the commands that manage something work with --offline while the server is stopped")

// serveEndpoint is serve at the admin endpoint, where the configuration in force
// may have switched it off. What works on the storage of a stopped server asks for
// no leave: whoever can open the storage has it.
func (a *AdminAPI) serveEndpoint(w http.ResponseWriter, r *http.Request) error {
	if ctx := caddy.ActiveContext(); ctx.Context != nil {
		if app, err := oauthApp(ctx); err == nil && app.AdminAPI != nil && !*app.AdminAPI {
			return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errAdminAPIOff}
		}
	}
	return a.serve(w, r)
}
