package caddymodule

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Bounds of the refusals that a gate logs. Anybody can cause refusals; nobody
// should be able to fill a disk with them.
const (
	loggedAtOnce    = 100 // refusals
	loggedPerSecond = 20
)

// decisions counts what a gate decides and logs what it refuses.
type decisions struct {
	policy *Policy
	mode   string
	logger *zap.Logger
	passed prometheus.Counter // by far the most frequent
	budget logBudget
}

func newDecisions(ctx caddy.Context, p *Protect) *decisions {
	mode := "enforced"
	if p.ReportOnly {
		mode = "reported"
	}
	return &decisions{
		policy: &p.Policy, mode: mode, logger: ctx.Logger(),
		passed: metricDecisions.WithLabelValues("passed", mode),
		budget: logBudget{left: loggedAtOnce},
	}
}

// note counts a decision, and logs it if it is a refusal. The line has the
// request's id, which the answer has too, and what decided; never the token.
func (d *decisions) note(v *visit, refused *refusal) {
	switch {
	case refused != nil:
		metricDecisions.WithLabelValues(refused.outcome, d.mode).Inc()
		d.log(v, refused)
	case v.open != "":
		metricDecisions.WithLabelValues(v.open, d.mode).Inc()
	default:
		d.passed.Inc()
	}
}

func (d *decisions) log(v *visit, refused *refusal) {
	level, message := zapcore.InfoLevel, "refused"
	switch {
	case d.mode == "reported":
		message = "would have been refused"
	case refused.status == http.StatusServiceUnavailable:
		level = zapcore.ErrorLevel
	}
	line := d.logger.Check(level, message)
	if line == nil {
		return
	}
	unlogged, may := d.budget.take(time.Now())
	if !may {
		return
	}
	line.Write(d.fields(v, refused, unlogged)...)
}

func (d *decisions) fields(v *visit, refused *refusal, unlogged int) []zap.Field {
	r := v.request
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	fields := []zap.Field{
		zap.String("request_id", requestID(r)),
		zap.Int("status", refused.status),
		zap.String("outcome", refused.outcome),
		zap.String("reason", refused.Error()),
		zap.String("resource", d.policy.Resource),
		zap.String("method", r.Method),
		zap.String("path", r.URL.Path),
		zap.String("client_ip", client),
		zap.String("decided_by", d.policy.decidedBy(refused)),
	}
	if v.token != nil {
		fields = append(fields, zap.String("issuer", v.token.Issuer), zap.String("subject", v.token.Subject),
			zap.String("client_id", v.token.ClientID), zap.String("token_id", v.token.ID))
	}
	if refused.scope != "" {
		fields = append(fields, zap.String("needed_scope", refused.scope))
	}
	if unlogged > 0 {
		fields = append(fields, zap.Int("not_logged_before", unlogged))
	}
	return fields
}

// logBudget is how many lines may be written now.
type logBudget struct {
	mu       sync.Mutex
	left     float64
	last     time.Time
	unlogged int // since the last line
}

// take uses up one line, if there is one, and tells how many were not written
// before it.
func (b *logBudget) take(now time.Time) (unlogged int, may bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.left = min(loggedAtOnce, b.left+now.Sub(b.last).Seconds()*loggedPerSecond)
	}
	b.last = now
	if b.left < 1 {
		b.unlogged++
		return 0, false
	}
	b.left--
	unlogged, b.unlogged = b.unlogged, 0
	return unlogged, true
}
