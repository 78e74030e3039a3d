package issuer

import (
	"log/slog"
	"net/http"
	"strings"
)

// audit writes one line about a security event that a request caused: who, what
// and from where, never a secret or a token. Values that come from the request
// and were not found to be known ones pass through loggable first.
func (i *Issuer) audit(r *http.Request, event string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("event", event), slog.String("issuer", i.config.URL),
		slog.String("remote_ip", i.config.ClientIP(r)))
	i.config.Logger.LogAttrs(r.Context(), slog.LevelInfo, "audit", attrs...)
}

// loggable bounds a stranger's text and takes control characters out of it, so
// that one event is one line of a known size.
func loggable(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
