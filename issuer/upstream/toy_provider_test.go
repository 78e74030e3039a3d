package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	testClientID     = "gate client"
	testClientSecret = "s3cret:of+the client"
	testRedirectURI  = "https://gate.example.com/login/toy/answer"
	testSubject      = "248289761001"
)

// toy is an OpenID provider on a loopback socket. Its members are its faults:
// each changes one thing that it says.
type toy struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	code string // of the next sign-in

	metadata func(m map[string]any)
	tokens   func(m map[string]any)
	claims   func(c map[string]any)
	sign     func(claims []byte) string
	userinfo func(c map[string]any)
	handler  map[string]http.HandlerFunc // instead of what is at the path

	accessToken string
	asked       url.Values // the authorization request

	mu       sync.Mutex
	requests map[string]int // by path
	issued   []string       // tokens and codes that no error may show
	refusals []string       // what the client did wrong at the token endpoint
}

func newToy(t *testing.T) *toy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &toy{key: key, code: rand.Text(), accessToken: rand.Text(), handler: map[string]http.HandlerFunc{}, requests: map[string]int{}}
	nothing := func(map[string]any) {}
	p.metadata, p.tokens, p.claims, p.userinfo = nothing, nothing, nothing, nothing
	p.sign = func(claims []byte) string { return signed(t, jose.ES256, key, claims) }
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *toy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	p.mu.Unlock()
	if instead := p.handler[r.URL.Path]; instead != nil {
		instead(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize?tenant=1", "token_endpoint": p.URL + "/token",
			"userinfo_endpoint": p.URL + "/userinfo", "jwks_uri": p.URL + "/jwks",
			"id_token_signing_alg_values_supported":          []string{"ES256", "HS256", "none"},
			"authorization_response_iss_parameter_supported": true,
		}
		p.metadata(m)
		answerJSON(w, 200, m)
	case "/jwks":
		answerJSON(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), Use: "sig", Algorithm: "ES256"}}})
	case "/token":
		p.token(w, r)
	case "/userinfo":
		if r.Header.Get("Authorization") != "Bearer "+p.accessToken {
			answerJSON(w, 401, nil)
			return
		}
		c := map[string]any{"sub": testSubject, "email": "jane@example.com", "email_verified": true}
		p.userinfo(c)
		answerJSON(w, 200, c)
	default:
		http.NotFound(w, r)
	}
}

// token answers as Core §3.1.3.3 says, and refuses what §3.1.3.2 refuses.
func (p *toy) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = url.QueryEscape(r.PostFormValue("client_id")), url.QueryEscape(r.PostFormValue("client_secret"))
	}
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	for what, right := range map[string]bool{
		"code":          r.PostFormValue("code") == p.code,
		"redirect_uri":  r.PostFormValue("redirect_uri") == testRedirectURI,
		"code_verifier": base64.RawURLEncoding.EncodeToString(challenge[:]) == p.asked.Get("code_challenge"),
		"client":        id == url.QueryEscape(testClientID) && secret == url.QueryEscape(testClientSecret),
	} {
		if !right {
			p.refusals = append(p.refusals, what)
			answerJSON(w, 400, map[string]string{"error": "invalid_grant", "error_description": what})
			return
		}
	}
	half := sha256.Sum256([]byte(p.accessToken))
	c := map[string]any{
		"iss": p.URL, "sub": testSubject, "aud": testClientID, "nonce": p.asked.Get("nonce"),
		"exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
		"name":    "Jane Doe", "preferred_username": "jane", "email": "jane@example.com", "email_verified": true,
	}
	p.claims(c)
	payload, _ := json.Marshal(c)
	idToken := p.sign(payload)
	p.mu.Lock()
	p.issued = append(p.issued, idToken, p.accessToken)
	p.mu.Unlock()
	m := map[string]any{"access_token": p.accessToken, "token_type": "Bearer", "id_token": idToken}
	p.tokens(m)
	answerJSON(w, 200, m)
}

// begin begins a sign-in and returns what the browser would bring back.
func (p *toy) begin(t *testing.T, provider *Provider, forceLogin bool) (Pending, url.Values) {
	t.Helper()
	location, pending, err := provider.Begin(t.Context(), testRedirectURI, "", "", forceLogin)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	p.asked = u.Query()
	return pending, url.Values{"code": {p.code}, "state": {p.asked.Get("state")}, "iss": {p.URL}}
}

// provider returns the client of the toy.
func (p *toy) provider(t *testing.T, change func(*Config)) *Provider {
	t.Helper()
	c := Config{ID: "toy", Issuer: p.URL, ClientID: testClientID, ClientSecret: testClientSecret}
	if change != nil {
		change(&c)
	}
	provider, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

func (p *toy) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// checkSilent fails the test if the error shows what only the two parties know.
func (p *toy) checkSilent(t *testing.T, err error, pending Pending) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range append([]string{p.code, p.accessToken, testClientSecret, pending.Verifier, pending.Nonce, pending.State}, p.issued...) {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

func signed(t *testing.T, algorithm jose.SignatureAlgorithm, key any, payload []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return text
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func answer(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}
