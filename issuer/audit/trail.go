package audit

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
)

// Message is the message of every line; the event tells them apart.
const Message = "audit"

// Trail is where an issuer's security events are written down. Make it with
// NewTrail; its methods may be called by many goroutines.
type Trail struct {
	logger    *slog.Logger
	issuer    string
	clientIP  func(*http.Request) string
	requestID func(*http.Request) string
	budgets   map[Event]*Budget // of the events that anybody can cause
}

// Lines about events that anybody can cause: for each such event so many at once,
// and then so many a second, of which one address (of IPv6, one /48) has a quarter at
// most. What is left out is counted in the next line.
const (
	linesAtOnce    = 100
	linesPerSecond = 20
)

// NewTrail returns the trail of the issuer with that URL, which writes to logger
// at level info. clientIP returns the address that sent a request, and requestID
// what the web server's own log calls the request, or "".
func NewTrail(logger *slog.Logger, issuer string, clientIP, requestID func(*http.Request) string) *Trail {
	t := &Trail{logger: logger, issuer: issuer, clientIP: clientIP, requestID: requestID, budgets: make(map[Event]*Budget)}
	for _, kind := range Events() {
		if kind.Anybody {
			t.budgets[kind.Event] = NewBudget(linesAtOnce, linesPerSecond)
		}
	}
	return t
}

// Record writes the line about an event that a request to the issuer caused.
// Attributes whose value is empty are left out. Values that come from the request
// and were not found to be known ones pass through Loggable first, which bounds them;
// what acts on whoever reads the log is taken out of all texts, for another issuer may
// have named a subject, and another program a client.
func (t *Trail) Record(r *http.Request, event Event, attrs ...slog.Attr) {
	if t.logger.Enabled(r.Context(), slog.LevelInfo) { // else nobody needs to make up an id
		t.write(r.Context(), event, t.clientIP(r), t.requestID(r), attrs)
	}
}

// RecordOperation writes the line about an event that no request to the issuer
// caused: an operator did (see ByOperator), or time.
func (t *Trail) RecordOperation(ctx context.Context, event Event, attrs ...slog.Attr) {
	by := operatorOf(ctx)
	if by.Via != "" {
		attrs = append(attrs, slog.String("via", by.Via))
	}
	t.write(ctx, event, by.RemoteIP, by.RequestID, attrs)
}

func (t *Trail) write(ctx context.Context, event Event, remoteIP, requestID string, attrs []slog.Attr) {
	if !t.logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	unlogged := 0
	if budget := t.budgets[event]; budget != nil {
		var may bool
		if unlogged, may = budget.Take(time.Now(), limit.Site(remoteIP)); !may {
			return
		}
	}
	line := make([]slog.Attr, 0, len(attrs)+5)
	line = append(line, slog.String("event", string(event)))
	for _, attr := range append([]slog.Attr{slog.String("issuer", t.issuer)}, attrs...) {
		if isEmpty(attr.Value) {
			continue
		}
		if attr.Value.Kind() == slog.KindString {
			attr.Value = slog.StringValue(tame(attr.Value.String()))
		}
		line = append(line, attr)
	}
	if requestID != "" {
		line = append(line, slog.String("request_id", requestID))
	}
	if remoteIP != "" {
		line = append(line, slog.String("remote_ip", remoteIP))
	}
	if unlogged > 0 {
		line = append(line, slog.Int("not_logged_before", unlogged))
	}
	t.logger.LogAttrs(ctx, slog.LevelInfo, Message, line...)
}

func isEmpty(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindString:
		return v.String() == ""
	case slog.KindAny:
		list, ok := v.Any().([]string)
		return ok && len(list) == 0
	}
	return false
}

// Loggable bounds a stranger's text and takes out of it what acts on whoever reads
// the log, so that one event is one line of a known size.
func Loggable(s string) string { return Bounded(s, 128) }

// Bounded is Loggable for texts of another length, in bytes.
func Bounded(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return tame(s)
}

// tame replaces control characters, those of eight bits too, which terminals obey as
// they do an escape; and what turns the direction of the text beside it, separates
// lines, or cannot be seen (Unicode Cf, Zl and Zp).
func tame(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, s)
}
