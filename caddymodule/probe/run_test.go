package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// givenInTest are tokens whose signatures nobody verifies here.
func givenInTest(t *testing.T) *Given {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": encodedPart(point[1:33]), "y": encodedPart(point[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(claims map[string]any) string {
		return part(map[string]any{"typ": "at+jwt", "alg": "ES256", "kid": "k"}) + "." + part(claims) + "." + encodedPart(make([]byte, 64))
	}
	return &Given{URL: "http://api.test/orders/7", Resource: "http://api.test", NeededScope: "read", ClientID: "app", Tokens: &issuer.ProbeTokens{
		Good: token(map[string]any{"jti": "good", "aud": "http://api.test"}), Expired: token(map[string]any{"jti": "expired"}),
		OtherAudience: token(map[string]any{"jti": "other"}), MoreAudience: token(map[string]any{"jti": "more"}),
		WithoutScope: token(map[string]any{"jti": "scope"}), OtherType: token(map[string]any{"jti": "type"}), Revoked: token(map[string]any{"jti": "revoked"}),
		Subject: "app", Scope: oauth.Scope{"read"}, JWKS: jwks,
	}}
}

// bareAPI is an API without a gate, and what attacks it.
func bareAPI(t *testing.T) Options {
	t.Helper()
	backend, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	target, err := NewTarget("http://api.test/orders/7", "api.test:"+backend.address(), false)
	if err != nil {
		t.Fatal(err)
	}
	target.patience, target.afterwards = 3*time.Second, 100*time.Millisecond
	given := givenInTest(t)
	return Options{
		Target: target, Backend: backend, Mint: func(context.Context) (*Given, error) { return given, nil },
		OpenPaths: []string{"/public"}, Guarded: []string{"X-Auth-Subject"}, Progress: func(string, int) {},
	}
}

// TestRunWithoutAGate: where nothing stands before the API, every check finds that,
// but for those of heads and bodies that its own server refuses.
func TestRunWithoutAGate(t *testing.T) {
	o := bareAPI(t)
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"control: a good token passes":        Passed,
		"control: a good token still passes":  Passed,
		"identity: the API is told who calls": NotSeen,
		"identity: removed by Connection":     Passed,
		"framing: Content-Length and chunked": Failed,
		"framing: broken heads":               Failed,
		"framing: two Content-Length":         Passed,
	}
	for _, f := range report.Checks {
		wanted, ok := want[f.Class+": "+f.Check]
		if !ok && f.Class != "framing" {
			wanted, ok = Failed, true
		}
		if ok && f.Outcome != wanted {
			t.Errorf("%s: %s: %s (%s); want %s", f.Class, f.Check, f.Outcome, f.Detail, wanted)
		}
	}
	if report.Passed+report.Failed+report.NotSeen != len(report.Checks) || report.URL != "http://api.test/orders/7" || report.ClientID != "app" || report.NeededScope != "read" {
		t.Errorf("%+v", report)
	}
}

// TestRunBegins: what keeps a probe from telling anything is an error, and no
// attack is made.
func TestRunBegins(t *testing.T) {
	none := errors.New("no tokens")
	for _, test := range []struct {
		name   string
		change func(*Options)
		says   string
	}{
		{"no tokens", func(o *Options) { o.Mint = func(context.Context) (*Given, error) { return nil, none } }, "no tokens"},
		{"nobody listens", func(o *Options) { o.Target.address = "127.0.0.1:1" }, "no connection to 127.0.0.1:1"},
		{"another API", func(o *Options) { o.Target.address = bareAPI(t).Target.address }, "did not arrive at --backend"},
		{"no answer", func(o *Options) { o.Target.address = mute(t) }, "ended the connection without an answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := bareAPI(t)
			test.change(&o)
			o.Progress = func(class string, _ int) { t.Errorf("attacks of class %s are made", class) }
			report, err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.says) || report != nil {
				t.Errorf("error %v, report %v; want %q", err, report, test.says)
			}
		})
	}
}

// mute accepts connections and says nothing.
func mute(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

// TestRunEnds: a run ends with its context, and tells nothing of what it has not
// seen to the end.
func TestRunEnds(t *testing.T) {
	o := bareAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var classes []string
	o.Progress = func(class string, _ int) {
		cancel()
		if !slices.Contains(classes, class) {
			classes = append(classes, class)
		}
	}
	if report, err := Run(ctx, o); !errors.Is(err, context.Canceled) || report != nil {
		t.Errorf("error %v, report %v", err, report)
	}
	if !slices.Equal(classes, []string{"token"}) {
		t.Errorf("attacks of the classes %v were made", classes)
	}
}
