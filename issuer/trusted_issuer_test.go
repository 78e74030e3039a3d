package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// trusting makes the issuer trust a provider.
func trusting(p *foreignIDP, changes ...func(*TrustedIssuer)) func(*Config) {
	return func(c *Config) {
		t := TrustedIssuer{Issuer: p.URL}
		for _, change := range changes {
			change(&t)
		}
		c.TrustedIssuers = append(c.TrustedIssuers, t)
	}
}

func withIntrospection(t *TrustedIssuer) {
	t.ClientID, t.ClientSecret = "rs-1", "canary-introspection"
}

func withUserinfo(t *TrustedIssuer) { t.Userinfo = true }

// judged is foreignSubject for the client svc.
func (f *fixture) judged(token, tokenType string) (*foreignSubject, error) {
	f.t.Helper()
	client, err := f.Client(f.t.Context(), "svc")
	if err != nil {
		f.t.Fatal(err)
	}
	subject, _, err := f.foreignSubject(f.t.Context(), token, tokenType, client)
	return subject, err
}

// refused fails unless err has that code and a description with that text.
func refused(t testing.TB, err error, code oauth.ErrorCode, text string) {
	t.Helper()
	var e *oauth.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Description, text) {
		t.Errorf("got %v, want %s with %q", err, code, text)
	}
}

// What a good token says, by the type it is given as (RFC 8693 §3).
func TestForeignSubject(t *testing.T) {
	p := newForeignIDP(t)
	idToken := map[string]any{"client_id": nil, "jti": nil, "azp": "web", "nonce": "n"}
	none, corp := "", "corp:"
	for _, test := range []struct {
		name    string
		trust   func(*TrustedIssuer)
		header  map[string]any
		claims  map[string]any
		kind    string
		subject string
	}{
		{"an access token", nil, nil, nil, tokenTypeAccessToken, p.URL + "|alice"},
		{"an access token, as a JWT", nil, nil, nil, tokenTypeJWT, p.URL + "|alice"},
		{"typ in full and in capitals", nil, map[string]any{"typ": "application/AT+JWT"}, nil, tokenTypeAccessToken, p.URL + "|alice"},
		{"an ID token without typ", nil, map[string]any{"typ": nil}, idToken, tokenTypeIDToken, p.URL + "|alice"},
		{"an ID token with typ", nil, map[string]any{"typ": "JWT"}, idToken, tokenTypeIDToken, p.URL + "|alice"},
		{"an ID token, for the client that is its audience", func(t *TrustedIssuer) { t.Audience, t.AuthorizedParties = []string{"web"}, []string{"web"} },
			map[string]any{"typ": nil}, map[string]any{"client_id": nil, "jti": nil, "aud": "web"}, tokenTypeIDToken, p.URL + "|alice"},
		{"plain JWT where that is configured", func(t *TrustedIssuer) { t.Types = []string{"JWT"} },
			map[string]any{"typ": "JWT"}, map[string]any{"client_id": nil, "jti": nil}, tokenTypeAccessToken, p.URL + "|alice"},
		{"no typ where that is configured", func(t *TrustedIssuer) { t.Types = []string{"JWT", ""} },
			map[string]any{"typ": nil}, nil, tokenTypeAccessToken, p.URL + "|alice"},
		{"azp as the authorized party", func(t *TrustedIssuer) { t.Types, t.AuthorizedParties = []string{"JWT"}, []string{"web"} },
			map[string]any{"typ": "JWT"}, map[string]any{"client_id": nil, "azp": "web"}, tokenTypeAccessToken, p.URL + "|alice"},
		{"appid as the authorized party", func(t *TrustedIssuer) { t.Types, t.AuthorizedParties = []string{"JWT"}, []string{"web"} },
			map[string]any{"typ": "JWT"}, map[string]any{"client_id": nil, "appid": "web"}, tokenTypeAccessToken, p.URL + "|alice"},
		{"several audiences, all ours", func(t *TrustedIssuer) { t.Audience = []string{"a", "b", "c"} },
			nil, map[string]any{"aud": []string{"a", "b"}}, tokenTypeAccessToken, p.URL + "|alice"},
		{"another claim", func(t *TrustedIssuer) { t.SubjectClaim = "oid" }, nil, map[string]any{"oid": "0-1"}, tokenTypeAccessToken, p.URL + "|0-1"},
		{"a verified e-mail address", func(t *TrustedIssuer) { t.SubjectClaim, t.SubjectPrefix = "email", &none },
			nil, map[string]any{"email": "a@corp.example", "email_verified": true}, tokenTypeAccessToken, "a@corp.example"},
		{"another prefix", func(t *TrustedIssuer) { t.SubjectPrefix = &corp }, nil, nil, tokenTypeAccessToken, "corp:alice"},
		// A foreign "admin" is not ours (RFC 9068 §5: sub is unique within an issuer).
		{"a name of ours", nil, nil, map[string]any{"sub": "svc"}, tokenTypeAccessToken, p.URL + "|svc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := test.trust
			if change == nil {
				change = func(*TrustedIssuer) {}
			}
			f := newFixture(t, trusting(p, change))
			got, err := f.judged(p.token(test.header, test.claims), test.kind)
			if err != nil {
				t.Fatal(err)
			}
			if got.Subject != test.subject || got.Token.Expiry.IsZero() || got.MayAct != nil {
				t.Errorf("got %+v, want %s", got, test.subject)
			}
		})
	}
}

// Every mistake of a subject token is refused with a description of its own, and
// nobody is asked who was not configured.
func TestForeignSubjectRefusals(t *testing.T) {
	var evilHits atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evilHits.Add(1) }))
	defer evil.Close()
	p, other := newForeignIDP(t), newForeignIDP(t)
	f := newFixture(t, trusting(p), trusting(other), func(c *Config) {
		c.TrustedIssuers[0].AuthorizedParties = []string{"web"}
		c.TrustedIssuers = append(c.TrustedIssuers, TrustedIssuer{Issuer: "https://closed.test", Clients: []string{"other"}})
	})
	now := time.Now().Unix()
	with := func(name string, value any) string { return p.token(nil, map[string]any{name: value}) }
	head := func(name string, value any) string { return p.token(map[string]any{name: value}, nil) }
	good := p.token(nil, nil)
	for _, test := range []struct {
		must, token, text string
	}{
		{"RFC 8725 §3.1: alg none", encode64(marshal(p.header(map[string]any{"alg": "none"}))) + "." + encode64(marshal(p.claims(nil))) + ".", "alg"},
		{"RFC 8725 §2.1: HS256 with the public key", p.signHMAC(nil), "alg"},
		{"RFC 7515 §4.1.4: unknown kid", head("kid", "k2"), "key that the issuer does not have"},
		{"RFC 7515 §4.1.4: no kid", head("kid", nil), "kid"},
		{"RFC 7515 §5.2: signature", good[:len(good)-8] + "AAAAAAAA", "signature"},
		{"RFC 7515 §4.1.11: crit", head("crit", []string{"exp"}), "crit"},
		{"RFC 7515 §4.1.2: jku is not followed", p.token(map[string]any{"jku": evil.URL, "x5u": evil.URL, "kid": "k3"}, nil), "key that the issuer does not have"},
		{"RFC 9068 §4: typ JWT", head("typ", "JWT"), "typ"},
		{"RFC 9068 §4: typ missing", head("typ", nil), "typ"},
		{"RFC 7519 §4.1.4: exp is 0", with("exp", 0), "expired"},
		{"RFC 7519 §4.1.4: exp is past", with("exp", now), "expired"},
		{"RFC 9068 §2.2: no exp", with("exp", nil), "exp of the token is missing"},
		{"RFC 7519 §2: exp is a string", with("exp", fmt.Sprint(now+60)), "exp of the token is missing or not"},
		{"RFC 7519 §4.1.5: nbf", with("nbf", now+3600), "not valid yet"},
		{"RFC 7519 §4.1.6: iat in the future", with("iat", now+3600), "future"},
		{"RFC 9068 §2.2: aud missing", with("aud", nil), "aud of the token is missing"},
		{"RFC 9068 §4: aud is another relying party", with("aud", "https://rp.test"), "another audience"},
		{"RFC 9068 §4: aud has ours among others", with("aud", []string{"a", "b", fixtureURL, "c", "d", "e"}), "another audience"},
		{"RFC 9068 §4: aud in another case", with("aud", strings.ToUpper(fixtureURL)), "another audience"},
		{"RFC 9068 §2.2: client_id that is not accepted", with("client_id", "mobile"), "client_id"},
		{"RFC 9068 §2.2: azp does not help a missing client_id", p.token(nil, map[string]any{"client_id": nil, "azp": "web"}), "client_id"},
		{"RFC 9068 §2.2: jti missing", with("jti", nil), "jti"},
		{"RFC 9068 §4: unknown iss", with("iss", evil.URL), "does not trust"},
		{"RFC 9068 §4: iss with a slash", with("iss", p.URL+"/"), "does not trust"},
		{"RFC 9068 §4: iss missing", with("iss", nil), "iss"},
		{"RFC 9068 §4: iss of one, key of another", other.token(nil, map[string]any{"iss": p.URL}), "signature"},
		{"RFC 7519 §4: duplicate sub", p.sign(marshal(p.header(nil)), []byte(strings.Replace(string(marshal(p.claims(nil))), "{", `{"sub":"admin",`, 1))), "strict JSON"},
		{"RFC 7519 §4: duplicate iss", p.sign(marshal(p.header(nil)), []byte(strings.Replace(string(marshal(p.claims(nil))), "{", `{"iss":"`+other.URL+`",`, 1))), "strict JSON"},
		{"RFC 9068 §2.2: sub missing", with("sub", nil), "sub of the token is missing"},
		{"RFC 9068 §2.2: sub is no string", with("sub", 7), "sub of the token is missing or not"},
		{"RFC 9068 §2.2: sub is empty", with("sub", ""), "sub of the token is missing or not"},
		{"sub has a line break", with("sub", "a\r\nb"), "sub of the token is missing or not"},
		{"sub is too long with its prefix", with("sub", strings.Repeat("s", 1020)), "names the subject"},
		{"RFC 7800 §3: bound to a key", with("cnf", map[string]any{"jkt": "x"}), "bound to a key"},
		{"RFC 8693 §4.1: act of our own clients", with("act", map[string]any{"sub": "svc", "iss": fixtureURL}), "act"},
		{"RFC 8693 §4.1: the same, further down", with("act", map[string]any{"sub": "a", "act": map[string]any{"sub": "svc", "iss": fixtureURL}}), "act"},
		{"RFC 8693 §4.1: act is no object", with("act", "svc"), "act"},
		{"RFC 8693 §4.1: act of 50", with("act", nestedActor(50)), "strict JSON"},
		{"RFC 8693 §4.4: may_act of another issuer", with("may_act", map[string]any{"sub": "svc", "iss": "https://b.test"}), "may_act"},
		{"RFC 8693 §4.4: may_act is no object", with("may_act", "svc"), "may_act"},
		{"RFC 7516: encrypted", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA", "not a signed JWT"},
		{"RFC 8693 §2.1: opaque, and nobody to ask", "opaque-alice", "not a signed JWT"},
		{"longer than a token", strings.Repeat("a", 16<<10), "longer than"},
		{"this client may not", with("iss", "https://closed.test"), "this client may not"},
	} {
		t.Run(test.must, func(t *testing.T) {
			_, err := f.judged(test.token, tokenTypeAccessToken)
			refused(t, err, oauth.InvalidRequest, test.text)
			if description := oauth.AsError(err).Description; strings.Contains(description, p.URL) || strings.Contains(description, "alice") || strings.Contains(description, evil.URL) {
				t.Errorf("the description tells of the token: %s", description)
			}
		})
	}
	if n := evilHits.Load(); n != 0 {
		t.Errorf("the address in a token was visited %d times", n)
	}
	t.Run("RFC 8693 §3: an access token is no ID token", func(t *testing.T) {
		_, err := f.judged(good, tokenTypeIDToken)
		refused(t, err, oauth.InvalidRequest, "typ")
	})
	t.Run("RFC 8693 §3: an opaque token is no JWT", func(t *testing.T) {
		_, err := f.judged("opaque-alice", tokenTypeJWT)
		refused(t, err, oauth.InvalidRequest, "JWT")
	})
	t.Run("RFC 8693 §3: other types", func(t *testing.T) {
		_, err := f.judged(good, "urn:ietf:params:oauth:token-type:saml2")
		refused(t, err, oauth.InvalidRequest, "subject_token_type")
	})
}

func nestedActor(depth int) map[string]any {
	actor := map[string]any{"sub": "a"}
	for range depth - 1 {
		actor = map[string]any{"sub": "a", "act": actor}
	}
	return actor
}

// Claims that map to a subject only if their issuer stands by them.
func TestForeignSubjectClaim(t *testing.T) {
	p := newForeignIDP(t)
	for _, test := range []struct {
		claim  string
		claims map[string]any
		text   string
	}{
		{"email", map[string]any{"email": "a@corp.example"}, "verified"},
		{"email", map[string]any{"email": "a@corp.example", "email_verified": false}, "verified"},
		{"email", map[string]any{"email": "a@corp.example", "email_verified": "true"}, "verified"},
		{"email", map[string]any{"email_verified": true}, "names the subject"},
		{"oid", nil, "names the subject"},
		{"oid", map[string]any{"oid": 7}, "names the subject"},
		{"oid", map[string]any{"oid": ""}, "names the subject"},
		{"oid", map[string]any{"oid": "a\x00b"}, "names the subject"},
		{"oid", map[string]any{"OID": "a"}, "names the subject"},
	} {
		t.Run(fmt.Sprint(test.claim, test.claims), func(t *testing.T) {
			f := newFixture(t, trusting(p, func(t *TrustedIssuer) { t.SubjectClaim = test.claim }))
			_, err := f.judged(p.token(nil, test.claims), tokenTypeAccessToken)
			refused(t, err, oauth.InvalidRequest, test.text)
		})
	}
}

// The chain of actors says whose names are in it, and may_act is read.
func TestForeignActors(t *testing.T) {
	p := newForeignIDP(t)
	f := newFixture(t, trusting(p))
	token := p.token(nil, map[string]any{
		"act":     map[string]any{"sub": "svc", "act": map[string]any{"sub": "b", "iss": "https://b.test"}},
		"may_act": map[string]any{"sub": "svc"},
	})
	got, err := f.judged(token, tokenTypeAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	want := introspect.Actor{Issuer: p.URL, Subject: "svc", Actor: &introspect.Actor{Issuer: "https://b.test", Subject: "b"}}
	if a := got.Token.Actor; a.Issuer != want.Issuer || a.Subject != want.Subject || *a.Actor != *want.Actor {
		t.Errorf("actors %+v, %+v", a, a.Actor)
	}
	if got.MayAct == nil || got.MayAct.Subject != "svc" {
		t.Errorf("may_act %+v", got.MayAct)
	}
}

// Opaque tokens: by introspection (RFC 7662), by userinfo (OpenID Connect Core
// §5.3), and by several issuers in turn.
func TestForeignOpaque(t *testing.T) {
	p, slow := newForeignIDP(t), newForeignIDP(t)
	for _, test := range []struct {
		name    string
		trust   []func(*Config)
		token   string
		subject string // "" for a refusal
		text    string
	}{
		{"introspection", []func(*Config){trusting(p, withIntrospection)}, "opaque-alice", p.URL + "|alice", ""},
		{"userinfo", []func(*Config){trusting(p, withUserinfo)}, "opaque-alice", p.URL + "|alice", ""},
		{"userinfo, another claim", []func(*Config){trusting(p, withUserinfo, func(t *TrustedIssuer) { t.SubjectClaim = "email" })}, "opaque-al", p.URL + "|al@example.com", ""},
		{"the second of two", []func(*Config){trusting(slow, withUserinfo), trusting(p, withIntrospection)}, "opaque-alice", p.URL + "|alice", ""},
		{"the issuer of JWTs is not asked", []func(*Config){trusting(slow), trusting(p, withIntrospection)}, "opaque-alice", p.URL + "|alice", ""},

		{"inactive by introspection", []func(*Config){trusting(p, withIntrospection)}, "garbage", "", "not active"},
		{"inactive by userinfo", []func(*Config){trusting(p, withUserinfo)}, "garbage", "", "userinfo"},
		{"inactive everywhere", []func(*Config){trusting(p, withUserinfo), trusting(slow, withUserinfo)}, "garbage", "", "none of the trusted issuers"},
		{"another client's issuer is not asked", []func(*Config){trusting(p, withIntrospection, func(t *TrustedIssuer) { t.Clients = []string{"other"} })}, "opaque-alice", "", "by this client"},
		{"audience", []func(*Config){trusting(p, withIntrospection, func(t *TrustedIssuer) { t.Audience = []string{"x"} })}, "opaque-alice", "", "another audience"},
		{"authorized party", []func(*Config){trusting(p, withIntrospection, func(t *TrustedIssuer) { t.AuthorizedParties = []string{"x"} })}, "opaque-alice", "", "client_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			slow.answer("/userinfo", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
			f := newFixture(t, test.trust...)
			got, err := f.judged(test.token, tokenTypeAccessToken)
			if test.subject == "" {
				refused(t, err, oauth.InvalidRequest, test.text)
				return
			}
			if err != nil || got.Subject != test.subject {
				t.Fatalf("got %+v, %v", got, err)
			}
			if life := time.Until(got.Token.Expiry); life <= 25*time.Second || life > time.Minute {
				t.Errorf("a token whose issuer does not tell its expiry is taken to live %v", life)
			}
		})
	}
}

// RFC 7662 §2.2: whatever the endpoint answers but {"active":true}, nothing is
// issued for it.
func TestForeignIntrospectionAnswers(t *testing.T) {
	p := newForeignIDP(t)
	for _, test := range []struct {
		answer string
		code   oauth.ErrorCode
		text   string
	}{
		{`{"active":"true","sub":"alice","aud":"https://auth.test"}`, oauth.TemporarilyUnavailable, ""},
		{`{"active":1,"sub":"alice","aud":"https://auth.test"}`, oauth.TemporarilyUnavailable, ""},
		{`[true]`, oauth.TemporarilyUnavailable, ""},
		{`<html></html>`, oauth.TemporarilyUnavailable, ""},
		{``, oauth.TemporarilyUnavailable, ""},
		{`{"active":true,"sub":"alice"}`, oauth.InvalidRequest, "whom it is for"},
		{`{"active":true,"aud":"https://auth.test"}`, oauth.InvalidRequest, "names the subject"},
		{`{"active":true,"sub":"alice","aud":"https://auth.test","exp":1}`, oauth.InvalidRequest, "expired"},
		{`{"active":true,"sub":"alice","aud":"https://auth.test","iss":"https://evil.test"}`, oauth.InvalidRequest, "another issuer"},
	} {
		p.answer("/introspect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(test.answer))
		})
		f := newFixture(t, trusting(p, withIntrospection))
		_, err := f.judged("opaque-alice", tokenTypeAccessToken)
		refused(t, err, test.code, test.text)
	}
}

// One issuer that does not answer does not keep another from being asked.
func TestForeignOpaqueFairShare(t *testing.T) {
	p, slow := newForeignIDP(t), newForeignIDP(t)
	slow.answer("/userinfo", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f := newFixture(t, trusting(slow, withUserinfo), trusting(p, withIntrospection))
	began := time.Now()
	got, err := f.judged("opaque-alice", tokenTypeAccessToken)
	if err != nil || got.Subject != p.URL+"|alice" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if took := time.Since(began); took > foreignWait {
		t.Errorf("it took %v", took)
	}
	// That the one answers "no" does not tell that the other would.
	_, err = f.judged("garbage", tokenTypeAccessToken)
	refused(t, err, oauth.TemporarilyUnavailable, "try again")
}

// The key set of a provider fails in every way before it was ever fetched: the
// server starts, and answers temporarily_unavailable soon. Nothing is read
// without a bound, and no redirect is followed.
func TestForeignKeySetFaults(t *testing.T) {
	var elsewhereHits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhereHits.Add(1) }))
	t.Cleanup(func() {
		elsewhere.Close()
		if n := elsewhereHits.Load(); n != 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
	for _, fault := range newForeignIDP(t).faults(elsewhere.URL) {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			p := newForeignIDP(t)
			p.answer("/keys", p.fault(fault.name, elsewhere.URL))
			f := newFixture(t, trusting(p))
			unavailableSoon(t, f, p.token(nil, nil))
			if n := p.written.Load(); n > 16<<20 { // what socket buffers take is not read
				t.Errorf("%d bytes were taken", n)
			}
			if n := p.count("/metadata"); n != 1 { // it comes before every key set
				t.Errorf("%d fetches", n)
			}
		})
	}
}

// fault returns the answer of that name, of this provider.
func (p *foreignIDP) fault(name, elsewhere string) http.HandlerFunc {
	for _, fault := range p.faults(elsewhere) {
		if fault.name == name {
			return fault.answer
		}
	}
	p.t.Fatalf("no fault %s", name)
	return nil
}

// unavailableSoon: no token of the provider can be judged, and that is said in
// two seconds and no more.
func unavailableSoon(t testing.TB, f *fixture, token string) {
	t.Helper()
	began := time.Now()
	_, err := f.judged(token, tokenTypeAccessToken)
	refused(t, err, oauth.TemporarilyUnavailable, "try again later")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the answer took %v", took)
	}
}

// outcome is what a function returned.
type outcome struct{ err error }

func must2(_ *foreignSubject, err error) outcome { return outcome{err} }

func (o outcome) orFatal(t testing.TB) {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
}

// A provider that nobody can reach.
func TestForeignIssuerDown(t *testing.T) {
	p := newForeignIDP(t)
	token := p.token(nil, nil)
	gone := httptest.NewServer(http.NotFoundHandler())
	url := gone.URL
	gone.Close()
	f := newFixture(t, trusting(p, func(t *TrustedIssuer) { t.KeySetURL = url + "/keys" }))
	unavailableSoon(t, f, token)
	f = newFixture(t, trusting(p, func(t *TrustedIssuer) { withIntrospection(t); t.IntrospectionEndpoint = url + "/introspect" }))
	_, err := f.judged("opaque-alice", tokenTypeAccessToken)
	refused(t, err, oauth.TemporarilyUnavailable, "try again later")
}

// Starting asks nobody, and a reload forgets nothing.
func TestForeignStateOutlivesReload(t *testing.T) {
	p := newForeignIDP(t)
	f := newFixture(t, trusting(p, withIntrospection))
	if p.count("/metadata")+p.count("/keys") != 0 {
		t.Error("the provider was asked at start")
	}
	token := p.token(nil, nil)
	must2(f.judged(token, tokenTypeAccessToken)).orFatal(t)
	must2(f.judged("opaque-alice", tokenTypeAccessToken)).orFatal(t)
	reloaded, err := New(context.Background(), f.config, f.state)
	if err != nil {
		t.Fatal(err)
	}
	f.Issuer = reloaded
	must2(f.judged(token, tokenTypeAccessToken)).orFatal(t)
	must2(f.judged("opaque-alice", tokenTypeAccessToken)).orFatal(t)
	if p.count("/keys") != 1 || p.count("/introspect") != 1 {
		t.Errorf("%d fetches of keys and %d questions, want one each", p.count("/keys"), p.count("/introspect"))
	}
	// Closed, it knows what it knew and asks nobody.
	f.state.Close()
	must2(f.judged(token, tokenTypeAccessToken)).orFatal(t)
	_, err = f.judged("opaque-bob", tokenTypeAccessToken)
	refused(t, err, oauth.TemporarilyUnavailable, "")
	if p.count("/introspect") != 1 {
		t.Error("a closed state asks")
	}
}

// A flood of tokens with unknown keys takes no memory, and costs one fetch.
func TestForeignFlood(t *testing.T) {
	p := newForeignIDP(t)
	f := newFixture(t, trusting(p))
	must2(f.judged(p.token(nil, nil), tokenTypeAccessToken)).orFatal(t)
	tokens := make([]string, 1000)
	for n := range tokens {
		tokens[n] = p.token(map[string]any{"kid": fmt.Sprint("x", n)}, nil)
	}
	before := heap()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, token := range tokens {
				if _, err := f.judged(token, tokenTypeAccessToken); oauth.AsError(err).Code != oauth.InvalidRequest {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	group.Wait()
	if n := p.count("/keys"); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("8,000 tokens took %d bytes", grown)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// A configuration that would trust too much, or nobody, is refused.
func TestTrustedIssuerValidate(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, change := range map[string]func(*Config){
		"no URL":           func(c *Config) { c.TrustedIssuers[0].Issuer = "" },
		"http":             func(c *Config) { c.TrustedIssuers[0].Issuer = "http://idp.test" },
		"a query":          func(c *Config) { c.TrustedIssuers[0].Issuer = "https://idp.test?x" },
		"a fragment":       func(c *Config) { c.TrustedIssuers[0].Issuer = "https://idp.test#x" },
		"a bar":            func(c *Config) { c.TrustedIssuers[0].Issuer = "https://idp.test/a|b" },
		"keys over http":   func(c *Config) { c.TrustedIssuers[0].KeySetURL = "http://idp.test/keys" },
		"our own URL":      func(c *Config) { c.TrustedIssuers[0].Issuer = c.URL },
		"twice":            func(c *Config) { c.TrustedIssuers = append(c.TrustedIssuers, c.TrustedIssuers[0]) },
		"no secret":        func(c *Config) { c.TrustedIssuers[0].ClientID = "a" },
		"no client":        func(c *Config) { c.TrustedIssuers[0].ClientSecret = "a" },
		"only an endpoint": func(c *Config) { c.TrustedIssuers[0].IntrospectionEndpoint = "https://idp.test/i" },
		"endpoint over http": func(c *Config) {
			withIntrospection(&c.TrustedIssuers[0])
			c.TrustedIssuers[0].IntrospectionEndpoint = "http://idp.test/i"
		},
		"two ways": func(c *Config) { withIntrospection(&c.TrustedIssuers[0]); withUserinfo(&c.TrustedIssuers[0]) },
		"party of userinfo": func(c *Config) {
			withUserinfo(&c.TrustedIssuers[0])
			c.TrustedIssuers[0].AuthorizedParties = []string{"a"}
		},
		"empty audience":      func(c *Config) { c.TrustedIssuers[0].Audience = []string{""} },
		"empty client":        func(c *Config) { c.TrustedIssuers[0].Clients = []string{""} },
		"empty party":         func(c *Config) { c.TrustedIssuers[0].AuthorizedParties = []string{""} },
		"prefix with a break": func(c *Config) { s := "a\n"; c.TrustedIssuers[0].SubjectPrefix = &s },
		"prefix too long":     func(c *Config) { c.TrustedIssuers[0].SubjectPrefix = &long },
		"unknown scope":       func(c *Config) { c.TrustedIssuers[0].Scope = oauth.Scope{"everything"} },
		"nine to ask": func(c *Config) {
			for n := range 9 {
				c.TrustedIssuers = append(c.TrustedIssuers, TrustedIssuer{Issuer: fmt.Sprintf("https://idp%d.test", n), Userinfo: true})
			}
		},
	} {
		config := Config{URL: fixtureURL, Scopes: []ScopeConfig{{Name: "read"}}, TrustedIssuers: []TrustedIssuer{{Issuer: "https://idp.test/", Scope: oauth.Scope{"read"}}}}
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&config)
		err := config.Validate()
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
	}
}
