package caddymodule

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// beCaddy is set in the environment of a test binary that is to be Caddy, with
// the handlers of this file built in. An issuer and the limits that it is held
// against are then one binary.
const beCaddy = "OAUTH_TEST_BE_CADDY"

// runCaddy is the main function of such a process.
func runCaddy() {
	caddy.RegisterModule(new(leastWork))
	httpcaddyfile.RegisterHandlerDirective("limit", parseLimit)
	httpcaddyfile.RegisterDirectiveOrder("limit", httpcaddyfile.Before, "respond")
	caddycmd.Main()
}

// leastWork is the least that a token endpoint has to do, and nothing else: it reads
// the form, makes a commit of as many bytes as a grant writes, and a signature.
type leastWork struct {
	Sign  bool   `json:"sign,omitempty"`
	Bytes []int  `json:"bytes,omitempty"` // of each record; none: no commit
	File  string `json:"file,omitempty"`

	key    *ecdsa.PrivateKey
	values [][]byte
	store  storage.Storage
}

// CaddyModule returns the Caddy module information.
func (*leastWork) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.limit", New: func() caddy.Module { return new(leastWork) }}
}

// Provision makes the key and the file.
func (l *leastWork) Provision(caddy.Context) (err error) {
	for _, size := range l.Bytes {
		value := make([]byte, size)
		_, _ = rand.Read(value)
		l.values = append(l.values, value)
	}
	if l.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil || len(l.values) == 0 {
		return err
	}
	l.store, err = bolt.Open(l.File, bolt.Options{})
	return err
}

// Cleanup closes the file.
func (l *leastWork) Cleanup() error {
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *leastWork) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) (err error) {
	if err := r.ParseForm(); err != nil {
		return err
	}
	var token string
	if l.store != nil {
		token, err = l.commit(r.Context())
	}
	if err == nil && l.Sign {
		token, err = l.sign(r.PostForm.Get("scope"))
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}

// commit writes records of as many bytes, key and value, each of a kind of its own,
// under a key that grows with time as those of grants do.
func (l *leastWork) commit(ctx context.Context) (string, error) {
	handle := record.NewHandle()
	key, _ := record.HandleKey("https://auth.example.com", handle)
	expiry := time.Now().Add(14 * 24 * time.Hour)
	return handle, l.store.Update(ctx, func(tx storage.Tx) (err error) {
		for n, value := range l.values {
			err = errors.Join(err, tx.Put("grant"+strconv.Itoa(n), key, value[:max(0, len(value)-len(key))], expiry))
		}
		return err
	})
}

// sign makes a JWT with the standard library.
func (l *leastWork) sign(scope string) (string, error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://auth.example.com", "sub": "app", "aud": "https://auth.example.com/api", "client_id": "app",
		"scope": scope, "iat": now, "exp": now + 3600, "jti": rand.Text(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"ZTnGWhrDpnlxIJ5AGBzrhbrYGTwQTzGwQGZIeJlxd0k"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, l.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature), nil
}

// parseLimit reads
//
//	limit [<matcher>] sign|commit|both [<file> <bytes>...]
func parseLimit(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(leastWork)
	h.Next() // directive name
	args := h.RemainingArgs()
	if len(args) == 0 {
		return nil, h.ArgErr()
	}
	l.Sign = args[0] != "commit"
	if len(args) == 1 {
		return l, nil
	}
	l.File = args[1]
	for _, text := range args[2:] {
		size, err := strconv.Atoi(text)
		if err != nil {
			return nil, h.Err(err.Error())
		}
		l.Bytes = append(l.Bytes, size)
	}
	return l, nil
}

var (
	_ caddy.Provisioner           = (*leastWork)(nil)
	_ caddy.CleanerUpper          = (*leastWork)(nil)
	_ caddyhttp.MiddlewareHandler = (*leastWork)(nil)
)
