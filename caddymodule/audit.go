package caddymodule

import (
	"log/slog"
	"net"
	"net/http"

	"go.uber.org/zap/exp/zapslog"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
)

// auditLog is the name of the logger of the audit trail. The global option log
// sends it where it should go: `include oauth.audit`.
const auditLog = "oauth.audit"

// auditLogger returns that logger. ctx is the app's, whose name oauth makes Caddy
// ask every log that could want oauth.audit.
func auditLogger(ctx caddy.Context) *slog.Logger {
	const noStack = slog.Level(127) // above every level
	return slog.New(zapslog.NewHandler(ctx.Logger().Core(), zapslog.WithName(auditLog), zapslog.AddStacktraceAt(noStack)))
}

// byOperator says in the audit trail that a request to the admin endpoint caused
// what it did.
func (r *adminRequest) byOperator() {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr // a socket
	}
	r.Request = r.WithContext(audit.ByOperator(r.Context(), audit.Operator{Via: "admin", RemoteIP: address}))
}

// audit writes a line about an operation.
func (a *AdminAPI) audit(r *adminRequest, err error) {
	app, missing := oauthApp(r.caddy)
	if missing != nil { // the configuration was unloaded meanwhile
		return
	}
	url, refused := "", ""
	if r.issuer != nil {
		url = r.issuer.URL()
	}
	if err != nil {
		refused = audit.Loggable(err.Error())
	}
	nobody := func(*http.Request) string { return "" }
	audit.NewTrail(app.audit, url, nobody, nobody).RecordOperation(r.Context(), audit.AdminRequest,
		slog.String("method", r.Method), slog.String("path", audit.Loggable(r.URL.Path)), slog.String("error", refused))
}
