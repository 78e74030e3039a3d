package caddymodule

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
)

// Caddy's access log has the whole target of a request and the Location of its
// answer. In both there are things that open something: authorization codes,
// hints that are ID tokens, state, user codes. Nothing can be taken out of a line,
// so the line is left out, and one without them is written in its place.

// keepFromAccessLog leaves the request out of the access log.
func keepFromAccessLog(r *http.Request) {
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
}

// logWithoutSecrets writes what the access log would have, but for the query and
// the Location, if the server has an access log and there is something to hide.
func (h *IssuerHandler) logWithoutSecrets(w caddyhttp.ResponseRecorder, r *http.Request, begun time.Time) {
	if r.URL.RawQuery == "" && w.Header().Get("Location") == "" {
		return
	}
	keepFromAccessLog(r)
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.Logs == nil {
		return
	}
	h.logger.Info("handled request",
		zap.String("request_id", requestID(r)),
		zap.String("client_ip", clientIP(r)),
		zap.String("proto", r.Proto),
		zap.String("method", audit.Loggable(r.Method)),
		zap.String("host", audit.Bounded(r.Host, loggedText)),
		zap.String("path", audit.Bounded(r.URL.Path, loggedText)),
		zap.Duration("duration", time.Since(begun)),
		zap.Int("size", w.Size()),
		zap.Int("status", w.Status()),
	)
}
