package caddymodule

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
)

// Bounds of the refusals that a gate logs. Anybody can cause refusals; nobody
// should be able to fill a disk with them. One address causes a quarter of the lines
// at most.
const (
	loggedAtOnce    = 100 // refusals
	loggedPerSecond = 20
	loggedText      = 512 // bytes of what a stranger can choose
)

// decisions counts what a gate decides and logs what it refuses.
type decisions struct {
	policy *Policy
	mode   string
	logger *zap.Logger
	passed prometheus.Counter // by far the most frequent
	budget *audit.Budget
}

func newDecisions(ctx caddy.Context, p *Protect) *decisions {
	mode := "enforced"
	if p.ReportOnly {
		mode = "reported"
	}
	return &decisions{
		policy: &p.Policy, mode: mode, logger: ctx.Logger(),
		passed: metricDecisions.WithLabelValues("passed", mode),
		budget: audit.NewBudget(loggedAtOnce, loggedPerSecond),
	}
}

// note counts a decision, says it on the request's span, and logs it if it is a
// refusal. The line has the request's id, which the answer has too, and what
// decided; never the token.
func (d *decisions) note(v *visit, refused *refusal) {
	outcome := "passed"
	switch {
	case refused != nil:
		outcome = refused.outcome
		metricDecisions.WithLabelValues(outcome, d.mode).Inc()
		d.log(v, refused)
	case v.open != "":
		outcome = v.open
		metricDecisions.WithLabelValues(outcome, d.mode).Inc()
	default:
		d.passed.Inc()
	}
	traceDecision(v, d.policy.Resource, outcome)
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
	client := clientIP(v.request)
	unlogged, may := d.budget.Take(time.Now(), limit.Site(client))
	if !may {
		return
	}
	line.Write(d.fields(v, refused, client, unlogged)...)
}

func (d *decisions) fields(v *visit, refused *refusal, client string, unlogged int) []zap.Field {
	r := v.request
	fields := []zap.Field{
		zap.String("request_id", requestID(r)),
		zap.Int("status", refused.status),
		zap.String("outcome", refused.outcome),
		zap.String("reason", refused.Error()),
		zap.String("resource", d.policy.Resource),
		zap.String("method", audit.Loggable(r.Method)),
		zap.String("path", audit.Bounded(r.URL.Path, loggedText)),
		zap.String("client_ip", client),
		zap.String("decided_by", d.policy.decidedBy(refused)),
	}
	if v.token != nil {
		fields = append(fields, zap.String("issuer", v.token.Issuer), zap.String("subject", audit.Bounded(v.token.Subject, loggedText)),
			zap.String("client_id", audit.Bounded(v.token.ClientID, loggedText)), zap.String("token_id", audit.Bounded(v.token.ID, loggedText)))
	}
	if refused.scope != "" {
		fields = append(fields, zap.String("needed_scope", refused.scope))
	}
	if unlogged > 0 {
		fields = append(fields, zap.Int("not_logged_before", unlogged))
	}
	return fields
}
