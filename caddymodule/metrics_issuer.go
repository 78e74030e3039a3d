package caddymodule

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// issuerObserver counts what an issuer does, says it on the spans of requests, and
// makes events of what programs may want to react to. The counters of what happens
// often are looked up once.
type issuerObserver struct {
	issuer   string // its URL
	emit     emitter
	issued   map[string]prometheus.Counter // by grant type
	reused   prometheus.Counter
	verified verifications
}

func newIssuerObserver(url string, emit emitter) *issuerObserver {
	o := &issuerObserver{
		issuer: url, emit: emit, issued: make(map[string]prometheus.Counter),
		reused: metricReused.WithLabelValues(url), verified: newVerifications(url),
	}
	for _, grantType := range oauth.GrantTypes() {
		o.issued[grantType] = metricIssued.WithLabelValues(url, grantType)
	}
	for _, reason := range []string{"password", "throttled", "upstream"} {
		metricLoginsFailed.WithLabelValues(url, reason)
	}
	return o
}

// TokenIssued implements issuer.Observer.
func (o *issuerObserver) TokenIssued(ctx context.Context, grantType, clientID string) {
	o.issued[grantType].Inc()
	traceTokenRequest(ctx, o.issuer, grantType, clientID, "issued")
}

// TokenRefused implements issuer.Observer.
func (o *issuerObserver) TokenRefused(ctx context.Context, grantType, clientID string, code oauth.ErrorCode) {
	if grantType == "" {
		grantType = "unknown"
	}
	metricRefused.WithLabelValues(o.issuer, grantType, string(code)).Inc()
	traceTokenRequest(ctx, o.issuer, grantType, clientID, string(code))
}

// TokenVerified implements issuer.Observer.
func (o *issuerObserver) TokenVerified(took time.Duration, err error) { o.verified.observe(took, err) }

// RefreshTokenReused implements issuer.Observer.
func (o *issuerObserver) RefreshTokenReused(clientID, authorizationID string) {
	o.reused.Inc()
	o.emit(refreshTokenReused, map[string]any{"issuer": o.issuer, "client_id": clientID, "authorization_id": authorizationID})
}

// LoginFailed implements issuer.Observer.
func (o *issuerObserver) LoginFailed(reason string) {
	metricLoginsFailed.WithLabelValues(o.issuer, reason).Inc()
}

// KeyActivated implements issuer.Observer.
func (o *issuerObserver) KeyActivated(kid string) {
	o.emit(keyRotated, map[string]any{"issuer": o.issuer, "kid": kid})
}

var _ issuer.Observer = (*issuerObserver)(nil)

// verifications are the times that verifying tokens of one issuer took.
type verifications struct{ active, inactive, unavailable prometheus.Observer }

func newVerifications(issuer string) verifications {
	return verifications{
		active:      metricVerification.WithLabelValues(issuer, "active"),
		inactive:    metricVerification.WithLabelValues(issuer, "inactive"),
		unavailable: metricVerification.WithLabelValues(issuer, "unavailable"),
	}
}

func (v verifications) observe(took time.Duration, err error) {
	switch {
	case err == nil:
		v.active.Observe(took.Seconds())
	case errors.Is(err, introspect.ErrInactive):
		v.inactive.Observe(took.Seconds())
	default:
		v.unavailable.Observe(took.Seconds())
	}
}

// timedIntrospector observes how long verifying takes.
type timedIntrospector struct {
	introspect.Introspector
	verified verifications
}

// Introspect implements introspect.Introspector.
func (t timedIntrospector) Introspect(ctx context.Context, token string) (*introspect.Token, error) {
	begun := time.Now()
	facts, err := t.Introspector.Introspect(ctx, token)
	t.verified.observe(time.Since(begun), err)
	return facts, err
}
