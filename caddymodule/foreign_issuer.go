package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// ForeignIssuer is an issuer elsewhere whose tokens a gate accepts: JWTs by its
// published keys, or opaque ones by asking it.
type ForeignIssuer struct {
	// Issuer URL, as in the `iss` of its tokens, byte for byte.
	Issuer string `json:"issuer"`

	// Profile says how its JWTs differ from RFC 9068: keycloak, entra, auth0 or
	// okta. Default: not at all.
	Profile string `json:"profile,omitempty"`

	// Audience is what its tokens call the resource: any of these in `aud`.
	// Default: the URI of the resource. "" stands for tokens without `aud`: then
	// whatever its clients got a token for, it opens this resource too.
	Audience []string `json:"audience,omitempty"`

	// Types are the accepted `typ` of its tokens, instead of the profile's; "" if
	// `typ` may be missing.
	Types []string `json:"types,omitempty"`

	// JWKSURI is where its keys are. Default: as in its metadata.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// Introspection has its tokens judged by its introspection endpoint (RFC
	// 7662) and not by its keys. An answer is believed for 30 seconds at most.
	Introspection *IntrospectionConfig `json:"introspection,omitempty"`

	// Scopes are those of its scopes that count here. Default: all.
	Scopes []string `json:"scopes,omitempty"`

	// SubjectPrefix is put before the names of its subjects, clients and actors, so
	// that its alice is not the alice of another issuer. Default: the issuer's URL
	// and "|", or nothing where the gate accepts no other issuer.
	SubjectPrefix *string `json:"subject_prefix,omitempty"`

	// Leeway is by how much its clock may differ from ours. Default: 0.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// MaxLifetime bounds the time from `iat` to `exp` of its JWTs. Default: 7 days.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`
}

// maxForeignLifetime is the default of MaxLifetime. A token that is good for years
// is a mistake of its issuer, or worse.
const maxForeignLifetime = 7 * 24 * time.Hour

// profile is how the access tokens of a product differ from RFC 9068.
type profile struct {
	types       []string // typ
	optional    []string // claims of RFC 9068 §2.2 that are missing
	scopeClaims []string // nil: scope
}

// profiles by the name of the product. docs/gateway.md says what each means, claim
// by claim.
var profiles = map[string]profile{
	"":         {},
	"keycloak": {types: []string{"JWT"}, optional: []string{"client_id"}},
	"entra":    {types: []string{"JWT"}, optional: []string{"client_id", "jti"}, scopeClaims: []string{"scp", "roles"}},
	"auth0":    {types: []string{"at+jwt", "JWT"}, optional: []string{"client_id", "jti"}, scopeClaims: []string{"scope", "permissions"}},
	"okta":     {types: []string{"JWT", ""}, optional: []string{"client_id"}, scopeClaims: []string{"scp"}},
}

// cachedForeignTokens bounds the verified tokens that are remembered of one
// foreign issuer.
const cachedForeignTokens = 100_000

// foreignPool holds what asks other issuers: keys and answers outlive a reload,
// and gates that trust the same issuer in the same way share them. The key is
// the digest of the whole configuration.
var foreignPool = caddy.NewUsagePool()

// foreign is an introspector in the pool.
type foreign struct {
	introspect.Introspector
	issuer string            // its URL
	cache  *introspect.Cache // nil where answers are remembered elsewhere, as are keys
	keys   *introspect.RemoteKeySet
	asked  askedIssuer
}

// forgotten is that of a source. It looks after the keys, too: while a response goes
// on, perhaps nobody else does.
func (f *foreign) forgotten() uint64 {
	f.keys.Fresh()
	return f.cache.Forgotten()
}

// askedIssuer is what asks the issuer for its keys, or about tokens.
type askedIssuer interface {
	io.Closer
	Health() introspect.Health
}

// Destruct ends fetches that still run.
func (f *foreign) Destruct() error { return f.asked.Close() }

// source makes the issuer a source of tokens for a resource. alone: the gate
// accepts no other issuer.
func (c *ForeignIssuer) source(resource string, alone bool) (*source, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	config := *c
	if config.SubjectPrefix == nil {
		prefix := c.Issuer + "|"
		if alone {
			prefix = ""
		}
		config.SubjectPrefix = &prefix
	}
	audience := config.Audience
	if len(audience) == 0 {
		audience = []string{resource}
	}
	config.Audience = nil // whom a token is for is the gate's business
	if c.Introspection != nil {
		resolved, err := c.Introspection.resolved()
		if err != nil {
			return nil, err
		}
		config.Introspection = resolved
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(encoded)
	value, _, err := foreignPool.LoadOrNew(key, func() (caddy.Destructor, error) { return config.foreign() })
	if err != nil {
		return nil, err
	}
	from := &source{
		url: c.Issuer, audience: audience, opaque: c.Introspection != nil,
		introspector: func(context.Context) (introspect.Introspector, error) { return value.(*foreign), nil },
		release:      func() error { _, err := foreignPool.Delete(key); return err },
	}
	if judge := value.(*foreign); judge.cache != nil {
		from.forgotten = judge.forgotten
	}
	return from, nil
}

// foreign makes what judges the tokens of the issuer.
func (c *ForeignIssuer) foreign() (*foreign, error) {
	named := namesOf{prefix: *c.SubjectPrefix, scopes: c.Scopes}
	if c.Introspection != nil {
		remote, err := introspect.NewRemote(introspect.RemoteConfig{
			Endpoint: c.Introspection.Endpoint, Issuer: c.Issuer,
			ClientID: c.Introspection.ClientID, ClientSecret: c.Introspection.ClientSecret,
		})
		if err != nil {
			return nil, err
		}
		named.Introspector = remote
		return &foreign{Introspector: named, issuer: c.Issuer, asked: remote}, nil
	}
	look, ok := profiles[c.Profile]
	if !ok {
		return nil, fmt.Errorf("there is no profile %q; want keycloak, entra, auth0 or okta", c.Profile)
	}
	if len(c.Types) > 0 {
		look.types = c.Types
	}
	lifetime := time.Duration(c.MaxLifetime)
	if lifetime == 0 {
		lifetime = maxForeignLifetime
	}
	var cache *introspect.Cache
	keys, err := introspect.NewRemoteKeySet(introspect.RemoteKeySetConfig{
		Issuer: c.Issuer, URL: c.JWKSURI,
		// What a key verified is not believed when its issuer has withdrawn it.
		Withdrawn: func() { cache.Forget(func(*introspect.Token) bool { return true }) },
	})
	if err != nil {
		return nil, err
	}
	if named.Introspector, err = introspect.NewJWT(introspect.JWTConfig{
		Issuer: c.Issuer, Keys: keys, Leeway: time.Duration(c.Leeway), MaxLifetime: lifetime,
		Types: look.types, Optional: look.optional, ScopeClaims: look.scopeClaims,
	}); err != nil {
		return nil, errors.Join(err, keys.Close())
	}
	cache = introspect.NewCache(timedIntrospector{named, newVerifications(c.Issuer)}, cachedForeignTokens)
	cache.While(keys.Fresh)
	return &foreign{Introspector: cache, issuer: c.Issuer, cache: cache, keys: keys, asked: keys}, nil
}

// namesOf keeps the names of one issuer apart from those of the others.
type namesOf struct {
	introspect.Introspector
	prefix string
	scopes []string // that count; nil for all
}

// Introspect implements introspect.Introspector.
func (n namesOf) Introspect(ctx context.Context, text string) (*introspect.Token, error) {
	token, err := n.Introspector.Introspect(ctx, text)
	if err != nil || n.prefix == "" && n.scopes == nil {
		return token, err
	}
	named := *token
	named.Subject, named.ClientID = n.named(token.Subject), n.named(token.ClientID)
	named.Actor = n.actor(token.Actor)
	named.AuthorizationID = "" // of this server only
	if n.prefix != "" {
		if named.Claims, err = withoutVouching(token); err != nil {
			return nil, fmt.Errorf("%w: %w", introspect.ErrUnavailable, err)
		}
	}
	if n.scopes != nil {
		named.Scope = slices.DeleteFunc(slices.Clone(token.Scope), func(scope string) bool { return !slices.Contains(n.scopes, scope) })
	}
	return &named, nil
}

// withoutVouching returns the claims of a token without the one in which an issuer of
// this server, and no other, says that another one vouched for the subject.
func withoutVouching(token *introspect.Token) (json.RawMessage, error) {
	if _, vouched := token.Claim("subject_issuer"); !vouched {
		return token.Claims, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(token.Claims, &members); err != nil {
		return nil, err
	}
	delete(members, "subject_issuer")
	return json.Marshal(members)
}

func (n namesOf) named(name string) string {
	if name == "" {
		return ""
	}
	return n.prefix + name
}

func (n namesOf) actor(actor *introspect.Actor) *introspect.Actor {
	if actor == nil {
		return nil
	}
	return &introspect.Actor{
		Issuer: actor.Issuer, Subject: n.named(actor.Subject), ClientID: n.named(actor.ClientID), Actor: n.actor(actor.Actor),
	}
}

// validate reports what no tokens could be judged with.
func (c *ForeignIssuer) validate() error {
	switch {
	case c.Issuer == "":
		return errors.New("want the URL of the issuer")
	case c.Introspection != nil && (c.Profile != "" || len(c.Types) > 0 || c.JWKSURI != "" || c.Leeway != 0 || c.MaxLifetime != 0):
		return errors.New("with introspection the issuer judges its tokens: profile, type, jwks_uri, leeway and max_lifetime have no meaning")
	case strings.ContainsAny(c.Issuer, "?#"):
		return errors.New("an issuer URL has no query and no fragment (RFC 8414 section 2)")
	}
	return nil
}
