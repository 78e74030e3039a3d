// Package audit writes down security events.
package audit

import (
	"log/slog"
	"net/http"
	"strings"
)

// Trail is where an issuer's security events are written down.
type Trail struct {
	Logger   *slog.Logger
	Issuer   string                     // its URL
	ClientIP func(*http.Request) string // the address that sent a request
}

// Record writes one line about a security event that a request caused: who, what
// and from where, never a secret or a token. Values that come from the request
// and were not found to be known ones pass through Loggable first.
func (t Trail) Record(r *http.Request, event string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("event", event), slog.String("issuer", t.Issuer),
		slog.String("remote_ip", t.ClientIP(r)))
	t.Logger.LogAttrs(r.Context(), slog.LevelInfo, "audit", attrs...)
}

// Loggable bounds a stranger's text and takes control characters out of it, so
// that one event is one line of a known size.
func Loggable(s string) string {
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
