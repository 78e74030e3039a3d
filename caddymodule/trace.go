package caddymodule

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Attributes of the spans of the directive tracing. None says who a person is:
// traces travel further than logs.
const (
	spanIssuer    = attribute.Key("oauth.issuer")
	spanClientID  = attribute.Key("oauth.client_id")
	spanGrantType = attribute.Key("oauth.grant_type")
	spanResource  = attribute.Key("oauth.resource")
	spanOutcome   = attribute.Key("oauth.outcome")
)

// recordingSpan returns the span of a request, or nil where none is recorded.
func recordingSpan(ctx context.Context) trace.Span {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return span
	}
	return nil
}

// traceTokenRequest says on the request's span how a token request ended.
func traceTokenRequest(ctx context.Context, issuer, grantType, clientID, outcome string) {
	span := recordingSpan(ctx)
	if span == nil {
		return
	}
	span.SetAttributes(spanIssuer.String(issuer), spanGrantType.String(grantType), spanOutcome.String(outcome))
	if clientID != "" {
		span.SetAttributes(spanClientID.String(clientID))
	}
}

// traceDecision says on the request's span what a gate decided.
func traceDecision(v *visit, resource, outcome string) {
	span := recordingSpan(v.request.Context())
	if span == nil {
		return
	}
	span.SetAttributes(spanResource.String(resource), spanOutcome.String(outcome))
	if v.token != nil {
		span.SetAttributes(spanIssuer.String(v.token.Issuer), spanClientID.String(v.token.ClientID))
	}
}
