package caddymodule

import (
	"context"
	"maps"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// recordedSpan remembers its attributes, if it records.
type recordedSpan struct {
	noop.Span
	recording  bool
	attributes map[string]string
}

func (s *recordedSpan) IsRecording() bool { return s.recording }

func (s *recordedSpan) SetAttributes(all ...attribute.KeyValue) {
	for _, a := range all {
		s.attributes[string(a.Key)] = a.Value.AsString()
	}
}

// TestSpans: what a request's span says of a token request and of a decision; it
// never says who a person is.
func TestSpans(t *testing.T) {
	const url, resource = "https://auth.test", "https://api.test"
	observer := newIssuerObserver(url, func(string, map[string]any) {})
	gate := &decisions{policy: &Policy{Resource: resource}, mode: "enforced", passed: metricDecisions.WithLabelValues("passed", "enforced")}
	token := &introspect.Token{Issuer: url, ClientID: "app", Subject: "u:alice"}
	decide := func(v visit) func(context.Context) {
		return func(ctx context.Context) {
			v.request = httptest.NewRequest("GET", "/", nil).WithContext(ctx)
			gate.note(&v, nil)
		}
	}
	for name, test := range map[string]struct {
		happens func(context.Context)
		want    map[string]string
	}{
		"a token is issued": {
			func(ctx context.Context) { observer.TokenIssued(ctx, oauth.GrantClientCredentials, "app") },
			map[string]string{"oauth.issuer": url, "oauth.grant_type": "client_credentials", "oauth.client_id": "app", "oauth.outcome": "issued"},
		},
		"a token is refused to nobody known": {
			func(ctx context.Context) { observer.TokenRefused(ctx, "", "", oauth.InvalidClient) },
			map[string]string{"oauth.issuer": url, "oauth.grant_type": "unknown", "oauth.outcome": "invalid_client"},
		},
		"a request passes a gate": {
			decide(visit{token: token}),
			map[string]string{"oauth.issuer": url, "oauth.resource": resource, "oauth.client_id": "app", "oauth.outcome": "passed"},
		},
		"a request needs no token": {
			decide(visit{open: "public"}),
			map[string]string{"oauth.resource": resource, "oauth.outcome": "public"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, recording := range []bool{true, false} {
				span := &recordedSpan{recording: recording, attributes: make(map[string]string)}
				test.happens(trace.ContextWithSpan(t.Context(), span))
				want := test.want
				if !recording {
					want = nil
				}
				if !maps.Equal(span.attributes, want) {
					t.Errorf("recording %v: %v, want %v", recording, span.attributes, want)
				}
			}
			test.happens(t.Context()) // no span at all
		})
	}
}

// TestSpansCostNothing: where nobody traces, the way of a request allocates nothing
// for it, and counting a token neither.
func TestSpansCostNothing(t *testing.T) {
	observer := newIssuerObserver("https://auth.test", func(string, map[string]any) {})
	v := &visit{request: httptest.NewRequest("GET", "/", nil), token: new(introspect.Token)}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		traceDecision(v, "https://api.test", "passed")
		observer.TokenIssued(ctx, oauth.GrantClientCredentials, "app")
		observer.TokenVerified(1, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
