package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// toyIssuer is an issuer elsewhere that makes whatever tokens it is told to, with
// a library that is not ours.
type toyIssuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	fetches, questions atomic.Int32 // of keys, about tokens
	ill                atomic.Bool  // it answers 500

	mu     sync.Mutex
	opaque map[string]map[string]any // introspection answers by token
	asked  []string                  // tokens that it was shown
}

func startToyIssuer(t testing.TB) *toyIssuer {
	t.Helper()
	toy := &toyIssuer{opaque: make(map[string]map[string]any)}
	var err error
	if toy.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	metadata := func(w http.ResponseWriter, r *http.Request) {
		toy.answer(w, map[string]any{"issuer": toy.URL, "jwks_uri": toy.URL + "/keys", "introspection_endpoint": toy.URL + "/introspect"})
	}
	mux.HandleFunc("/.well-known/openid-configuration", metadata)
	mux.HandleFunc("/.well-known/oauth-authorization-server", metadata)
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		toy.fetches.Add(1)
		toy.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: toy.key.Public(), KeyID: "toy", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("/introspect", toy.introspect)
	toy.Server = httptest.NewServer(mux)
	t.Cleanup(toy.Close)
	return toy
}

func (toy *toyIssuer) answer(w http.ResponseWriter, value any) {
	if toy.ill.Load() {
		http.Error(w, "ill", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// introspect is RFC 7662, for one resource server.
func (toy *toyIssuer) introspect(w http.ResponseWriter, r *http.Request) {
	toy.questions.Add(1)
	if id, secret, _ := r.BasicAuth(); id != "gate" || secret != canary+"-of-the-gate" {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	toy.mu.Lock()
	toy.asked = append(toy.asked, r.PostFormValue("token"))
	answer := toy.opaque[r.PostFormValue("token")]
	toy.mu.Unlock()
	if answer == nil {
		answer = map[string]any{"active": false}
	}
	toy.answer(w, answer)
}

// shown tells whether it was shown a token.
func (toy *toyIssuer) shown(token string) bool {
	toy.mu.Lock()
	defer toy.mu.Unlock()
	for _, asked := range toy.asked {
		if asked == token {
			return true
		}
	}
	return false
}

// grant makes an opaque token active.
func (toy *toyIssuer) grant(token string, claims map[string]any) string {
	answer := map[string]any{"active": true, "exp": time.Now().Unix() + 600}
	maps.Copy(answer, claims)
	toy.mu.Lock()
	defer toy.mu.Unlock()
	toy.opaque[token] = answer
	return token
}

// sign makes a JWT with that header beside alg and kid. Times are as they should
// be, unless the claims have them.
func (toy *toyIssuer) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	options := new(jose.SignerOptions)
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: toy.key, KeyID: "toy"}}, options)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"iat": time.Now().Unix() - 10, "exp": time.Now().Unix() + 600}
	maps.Copy(all, claims)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// accessToken is a JWT of RFC 9068 with some claims otherwise.
func (toy *toyIssuer) accessToken(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": toy.URL, "sub": "alice", "client_id": "app", "scope": "api:read", "jti": rand.Text()}
	maps.Copy(claims, changes)
	return toy.sign(t, map[string]any{"typ": "at+jwt"}, claims)
}
