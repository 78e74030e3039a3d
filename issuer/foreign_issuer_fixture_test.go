package issuer

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// foreignIDP is an identity provider on a loopback socket, which can be told to
// misbehave.
type foreignIDP struct {
	URL string
	t   testing.TB

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	kid     string
	answers map[string]http.HandlerFunc // by path; others are answered well

	hits    map[string]*atomic.Int32 // by path
	written atomic.Int64             // bytes of stream
}

// newForeignIDP starts a provider with one key, whose people have the opaque
// tokens "opaque-<sub>".
func newForeignIDP(t testing.TB) *foreignIDP {
	t.Helper()
	p := &foreignIDP{t: t, answers: make(map[string]http.HandlerFunc), hits: make(map[string]*atomic.Int32)}
	for _, path := range []string{"/keys", "/metadata", "/introspect", "/userinfo"} {
		p.hits[path] = new(atomic.Int32)
	}
	p.rotate("k1")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", p.path("/metadata", func(w http.ResponseWriter, _ *http.Request) {
		writeTestJSON(w, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys",
			"introspection_endpoint": p.URL + "/introspect", "userinfo_endpoint": p.URL + "/userinfo",
		})
	}))
	mux.HandleFunc("/keys", p.path("/keys", func(w http.ResponseWriter, _ *http.Request) { writeTestJSON(w, p.keySet()) }))
	mux.HandleFunc("/introspect", p.path("/introspect", p.introspect))
	mux.HandleFunc("/userinfo", p.path("/userinfo", p.userinfo))
	server := httptest.NewServer(mux)
	p.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return p
}

// path counts, and lets a test answer.
func (p *foreignIDP) path(name string, well http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.hits[name].Add(1)
		p.mu.Lock()
		answer := p.answers[name]
		p.mu.Unlock()
		if answer == nil {
			answer = well
		}
		answer(w, r)
	}
}

// answer changes what a path answers; nil is well again.
func (p *foreignIDP) answer(path string, handler http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = handler
}

func (p *foreignIDP) count(path string) int { return int(p.hits[path].Load()) }

// rotate makes the provider sign with a new key, and publish only that.
func (p *foreignIDP) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, kid
}

func (p *foreignIDP) jwk() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	return map[string]any{
		"kty": "EC", "crv": "P-256", "kid": p.kid, "alg": "ES256", "use": "sig",
		"x": encode64(point[1:33]), "y": encode64(point[33:]),
	}
}

func (p *foreignIDP) keySet(more ...any) map[string]any {
	return map[string]any{"keys": append([]any{p.jwk()}, more...)}
}

func (p *foreignIDP) introspect(w http.ResponseWriter, r *http.Request) {
	if id, secret, _ := r.BasicAuth(); id != "rs-1" || secret != "canary-introspection" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	subject, known := strings.CutPrefix(r.PostFormValue("token"), "opaque-")
	if !known {
		writeTestJSON(w, map[string]any{"active": false})
		return
	}
	writeTestJSON(w, map[string]any{"active": true, "sub": subject, "aud": fixtureURL, "client_id": "web", "scope": "read"})
}

func (p *foreignIDP) userinfo(w http.ResponseWriter, r *http.Request) {
	subject, known := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer opaque-")
	if !known {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	writeTestJSON(w, map[string]any{"sub": subject, "email": subject + "@example.com", "email_verified": true})
}

// claims are those of a good access token for alice (RFC 9068 §2.2), changed; a
// nil value takes a claim away.
func (p *foreignIDP) claims(changes map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "sub": "alice", "aud": fixtureURL, "client_id": "web", "jti": "j1",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "scope": "read",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func (p *foreignIDP) header(changes map[string]any) map[string]any {
	header := map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": p.kid}
	maps.Copy(header, changes)
	maps.DeleteFunc(header, func(_ string, value any) bool { return value == nil })
	return header
}

// token signs an access token.
func (p *foreignIDP) token(header, claims map[string]any) string {
	return p.sign(marshal(p.header(header)), marshal(p.claims(claims)))
}

// sign makes a JWS of exactly these parts (RFC 7515 §5.1).
func (p *foreignIDP) sign(header, payload []byte) string {
	signed := encode64(header) + "." + encode64(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		p.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode64(signature)
}

// signHMAC makes a JWS with a public key for its secret (RFC 8725 §2.1).
func (p *foreignIDP) signHMAC(claims map[string]any) string {
	public, err := p.key.PublicKey.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	signed := encode64(marshal(p.header(map[string]any{"alg": "HS256"}))) + "." + encode64(marshal(p.claims(claims)))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + encode64(mac.Sum(nil))
}

// fault is one way for a server to misbehave.
type fault struct {
	name   string
	answer http.HandlerFunc
}

// faults are those of a key set endpoint. elsewhere is another server.
func (p *foreignIDP) faults(elsewhere string) []fault {
	text := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	set := func(keys ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { writeTestJSON(w, map[string]any{"keys": keys}) }
	}
	oct := map[string]any{"kty": "oct", "kid": "k1", "alg": "HS256", "k": encode64([]byte("a secret that everybody can read"))}
	many := make([]any, 10_000)
	for n := range many {
		key := p.jwk()
		key["kid"] = fmt.Sprint("k", n)
		many[n] = key
	}
	return []fault{
		{"refuse", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				p.t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}},
		{"tarpit", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"drip", func(w http.ResponseWriter, r *http.Request) {
			for _, c := range marshal(p.keySet()) {
				_, _ = w.Write([]byte{c})
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}},
		{"500", text(500, "application/json", string(marshal(p.keySet())))},
		{"HTML", text(200, "text/html", "<html><body>Please sign in</body></html>")},
		{"no keys", set()},
		{"symmetric key", set(oct)},
		{"duplicate kid", set(p.jwk(), p.jwk())},
		{"10,000 keys", set(many...)},
		{"300 MB", p.stream(300 << 20)},
		{"gzip bomb", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 300 {
				if _, err := z.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
			_ = z.Close()
		}},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }},
	}
}

// stream answers with a key set and white space after it, as much as is read.
func (p *foreignIDP) stream(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(marshal(p.keySet()))
		blank := []byte(strings.Repeat(" ", 64<<10))
		for sent := 0; sent < size; sent += len(blank) {
			n, err := w.Write(blank)
			p.written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

func writeTestJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(marshal(value))
}

func marshal(value any) []byte {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return encoded
}

func encode64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
