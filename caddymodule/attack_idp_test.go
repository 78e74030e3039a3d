package caddymodule

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// attackIdP is a host with the key sets of issuers whose tokens the gate trusts,
// and an introspection endpoint. An issuer https://<name>.test has its keys at
// /<name>.
type attackIdP struct {
	url string

	mu      sync.Mutex
	serve   map[string]http.HandlerFunc
	fetches map[string]int
}

// goodIssuer has good keys and bad ones beside them; rotatingIssuer changes its
// keys; the others answer with nonsense from the start.
const (
	goodIssuer     = "https://good.test"
	rotatingIssuer = "https://rotating.test"
	floodedIssuer  = "https://flooded.test"
)

func startAttackIdP(t *testing.T) *attackIdP {
	t.Helper()
	idp := &attackIdP{serve: make(map[string]http.HandlerFunc), fetches: make(map[string]int)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.Trim(r.URL.Path, "/")
		idp.mu.Lock()
		idp.fetches[name]++
		serve := idp.serve[name]
		idp.mu.Unlock()
		if serve == nil {
			http.NotFound(w, r)
			return
		}
		serve(w, r)
	}))
	t.Cleanup(server.Close)
	idp.url = server.URL
	return idp
}

func (i *attackIdP) answer(name string, serve http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve[name] = serve
}

// publish makes keys the key set of an issuer.
func (i *attackIdP) publish(name string, keys ...map[string]any) {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	i.answer(name, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

func (i *attackIdP) fetched(name string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches[name]
}

// The keys of goodIssuer by kid: one is good, and each of the others should not
// be trusted for a reason of its own.
const (
	kidGood      = "good"
	kidOctet     = "octet"   // symmetric
	kidEncrypt   = "encrypt" // use: enc
	kidWrap      = "wrap"    // key_ops without verify
	kidSmall     = "small"   // of small order
	kidTwin      = "twin"    // one name, two keys
	octetSecret  = "\x00\x00\x00"
	smallOrderX  = "\x01"
	twinsOfOneID = 2
)

// attackKeys are the private halves of what goodIssuer publishes, and a key that
// nobody knows.
type attackKeys struct {
	stranger            *rsa.PrivateKey
	good, encrypt, wrap attackKey
	twins               [twinsOfOneID]attackKey
	next                attackKey // that no set has yet
}

func newAttackKeys() attackKeys {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return attackKeys{
		stranger: stranger,
		good:     newKey(kidGood), encrypt: newKey(kidEncrypt), wrap: newKey(kidWrap),
		twins: [twinsOfOneID]attackKey{newKey(kidTwin), newKey(kidTwin)}, next: newKey("next"),
	}
}

func newKey(kid string) attackKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return attackKey{kid, "ES256", private}
}

// public is the JWK of an ES256 key, with changes.
func (k attackKey) public(changes ...any) map[string]any {
	point, err := k.private.(*ecdsa.PrivateKey).PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": k.kid, "x": b64u(string(point[1:33])), "y": b64u(string(point[33:]))}
	for n := 0; n+1 < len(changes); n += 2 {
		jwk[changes[n].(string)] = changes[n+1]
	}
	return jwk
}

// publishAll gives every issuer of the fixture its keys.
func (i *attackIdP) publishAll(keys attackKeys) {
	i.publish("good",
		keys.good.public("use", "sig"),
		map[string]any{"kty": "oct", "kid": kidOctet, "alg": "HS256", "k": b64u(octetSecret)},
		keys.encrypt.public("use", "enc"),
		keys.wrap.public("key_ops", []string{"wrapKey"}),
		map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kidSmall, "alg": "EdDSA", "x": b64u(smallOrderX + strings.Repeat("\x00", 31))},
		keys.twins[0].public(), keys.twins[1].public(),
	)
	for _, name := range []string{"rotating", "flooded", "emptied", "swollen", "crowded"} {
		i.publish(name, keys.good.public())
	}
	i.answer("empty", emptySet)
	i.answer("huge", hugeSet)
	i.answer("many", crowdedSet)
	i.answer("introspect", i.introspect)
}

func emptySet(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }

// hugeSet is 300 MB long, if somebody reads it.
func hugeSet(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, `{"keys":[`)
	junk := []byte(strings.Repeat(`{"kty":"EC"},`, 80_000))
	for range 300 {
		if _, err := w.Write(junk); err != nil {
			return
		}
	}
}

func crowdedSet(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, `{"keys":[`)
	for n := range 10_000 {
		fmt.Fprintf(w, `{"kty":"EC","crv":"P-256","kid":"%d","x":"AA","y":"AA"},`, n)
	}
	fmt.Fprint(w, `{"kty":"EC"}]}`)
}

// The opaque token that introspection knows, and the one client that may be told.
// The client of the other gate is spelled the same when id and secret are put
// together.
const opaqueToken = "opaque-" + canary

func (i *attackIdP) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	if id != "a" || secret != "b%7Cc" || r.FormValue("token") != opaqueToken {
		fmt.Fprint(w, `{"active":false}`)
		return
	}
	fmt.Fprintf(w, `{"active":true,"iss":"https://opaque.test","sub":"alice","client_id":"web","scope":"read","aud":"https://api.test","exp":%d}`,
		time.Now().Add(time.Hour).Unix())
}

// signedBy is a token of an issuer whose key the attempt holds.
func (a *attempt) signedBy(key attackKey, issuer string, header, claims map[string]any) string {
	return key.sign(key.header(header), goodClaims(issuer, claims))
}

// smallOrderSignature fits every message under the key kidSmall: that key is the
// neutral element, and so is R.
func smallOrderSignature() string {
	return smallOrderX + strings.Repeat("\x00", ed25519.SignatureSize-1)
}
