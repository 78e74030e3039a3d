package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// Issuer is an OAuth 2.0 authorization server and OpenID provider. It is an
// http.Handler for its endpoints and an introspect.Introspector for its tokens.
type Issuer struct {
	config    Config
	state     *State
	realm     *realm
	inForce   *configuration // what it decides about the realm
	clients   *clients.Registry
	routes    map[string]endpoint
	metadata  []byte
	trail     *audit.Trail
	refusals  oauth.Refusals
	resources clients.Resources
	signin    *signin.Handler

	pages      *pages.Pages
	upstreams  []*upstream.Provider
	registered *limit.Limiter // registrations and updates, by address
	trusted    []*foreignIssuer

	base     string   // path of the URL
	assets   string   // prefix of what pages refer to
	families []string // prefixes of the routes that end in *
}

// New makes an issuer on a state. It loads the issuer's keys and revocations
// and makes the first key where there is none; it changes nothing else. The
// error says what is wrong with the configuration, or is the storage's. What New
// returns wants a Close.
func New(ctx context.Context, config Config, state *State) (*Issuer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	i := &Issuer{config: config.withDefaults(), state: state, base: pathOf(config.URL)}
	i.trail = audit.NewTrail(i.config.AuditLogger, config.URL, i.config.ClientIP, i.config.RequestID)
	i.resources = clients.Resources{Issuer: config.URL, Default: config.DefaultResource, Protected: i.config.Resources}
	i.refusals = oauth.Refusals{Logger: i.config.Logger, Realm: config.URL}
	i.assets = i.base + "/assets/"
	i.clients = clients.NewRegistry(state.Storage, config.URL, i.config.scopeNames(), i.config.Clients)
	var err error
	if i.pages, err = pages.New(i.config.look()); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", config.URL, err)
	}
	if i.upstreams, err = i.config.providers(); err != nil {
		return nil, err
	}
	if i.realm, err = state.realm(ctx, config.URL, i.config.keyPolicy()); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", config.URL, err)
	}
	people := i.signInConfig()
	i.inForce = &configuration{
		i.config.keyPolicy(), &watchers{i.trail, i.config.Observer}, newClientsInForce(i.clients), signin.LoginsOf(people),
	}
	i.realm.begin(ctx, i.inForce)
	i.signin = signin.New(people, i.realm.people)
	if err := i.trust(); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", config.URL, errors.Join(err, i.Close(ctx)))
	}
	i.registered = i.config.Registration.limiter()
	i.routes = i.withAliases(i.surface())
	for route := range i.routes {
		if family, ok := strings.CutSuffix(route, "*"); ok {
			i.families = append(i.families, family)
		}
	}
	i.metadata = i.marshalMetadata(i.config.SigningAlgorithm)
	return i, nil
}

// signInConfig is what the pages of the sign-in need.
func (i *Issuer) signInConfig() signin.Config {
	c := &i.config
	texts := make(map[string]string)
	for _, scope := range c.Scopes {
		if scope.Description != "" {
			texts[scope.Name] = scope.Description
		}
	}
	return signin.Config{
		URL: c.URL, BasePath: i.basePath(),
		AccessTokenLifetime: c.AccessTokenLifetime, RefreshTokenLifetime: c.RefreshTokenLifetime,
		RefreshTokenIdleLifetime: c.RefreshTokenIdleLifetime, SessionLifetime: c.SessionLifetime,
		LocalLogin: c.LocalLogin, CaddyUser: c.CaddyUser, Upstreams: i.upstreams, Applications: c.Applications,
		ScopeTexts: texts, Resources: &i.resources, Client: i.clients.Client, HintedSubject: i.hintedSubject,
		Devices: &i.realm.devices, Guesses: i.realm.guesses,
		Sealer: i.realm.seal, Pages: i.pages, Trail: i.trail, Logger: c.Logger, ClientIP: c.ClientIP,
		LoginFailed: c.Observer.LoginFailed,
	}
}

// URL is the issuer identifier.
func (i *Issuer) URL() string { return i.config.URL }

// endpoint is one place of the issuer's surface.
type endpoint struct {
	methods     []string
	serve       http.HandlerFunc
	crossOrigin bool // see cross_origin.go
}

// surface lists every path that the issuer answers. There is no other. A star
// stands for the last part of a path.
func (i *Issuer) surface() map[string]endpoint {
	post, get := []string{http.MethodPost}, []string{http.MethodGet, http.MethodHead}
	both := []string{http.MethodGet, http.MethodHead, http.MethodPost}
	base := i.basePath()
	routes := map[string]endpoint{
		base + "/token":      {post, i.serveToken, true},
		base + "/introspect": {post, i.serveIntrospection, false},
		base + "/revoke":     {post, i.serveRevocation, true},
		base + "/userinfo":   {both, i.serveUserinfo, true},

		base + "/device-authorization": {post, i.serveDeviceAuthorization, true},
		base + "/device_authorization": {post, i.serveDeviceAuthorization, true},

		base + "/device":      {both, i.signin.Show(i.signin.ServeDevice), false},
		base + "/authorize":   {both, i.signin.Show(i.signin.ServeAuthorize), false},
		base + "/login":       {both, i.signin.Show(i.signin.ServeLogin), false},
		base + "/consent":     {both, i.signin.Show(i.signin.ServeConsent), false},
		base + "/account":     {both, i.signin.Show(i.signin.ServeAccount), false},
		base + "/end-session": {both, i.signin.Show(i.signin.ServeEndSession), false},
	}
	// Links that were handed out work on when applications are turned off.
	routes[base+"/applications/secret"] = endpoint{both, i.signin.Show(i.serveApplicationSecret), false}
	if i.config.Applications {
		routes[base+"/applications"] = endpoint{get, i.signin.Show(i.serveApplications), false}
		routes[base+"/applications/new"] = endpoint{both, i.signin.Show(i.serveApplicationForm), false}
		routes[base+"/applications/*"] = endpoint{both, i.signin.Show(i.serveApplicationReview), false}
	}
	if i.config.Welcome {
		routes[base+"/"] = endpoint{get, i.signin.Show(i.serveWelcome), false}
		if base != "" {
			routes[base] = endpoint{get, i.signin.Show(i.serveWelcome), false}
		}
	}
	for _, provider := range i.upstreams {
		// One for each, so that no provider can answer for another (RFC 9700
		// §4.4.2.1).
		routes[base+signin.CallbackPath(provider)] = endpoint{get, i.signin.Show(i.signin.ServeCallback(provider)), false}
	}
	// Metadata stands where RFC 8414 §3.1 puts it (well-known inserted before
	// the issuer's path), where OpenID Connect Discovery §4 puts it (appended),
	// and, because clients mix them up, under both names in both places.
	for _, prefix := range []string{base + "/.well-known/", "/.well-known/"} {
		suffix := ""
		if prefix != base+"/.well-known/" {
			suffix = base
		}
		routes[prefix+"openid-configuration"+suffix] = endpoint{get, i.serveMetadata, true}
		routes[prefix+"oauth-authorization-server"+suffix] = endpoint{get, i.serveMetadata, true}
	}
	routes[base+"/.well-known/jwks.json"] = endpoint{get, i.serveJWKS, true}
	if i.config.Registration.Mode != RegistrationOff {
		routes[base+"/register"] = endpoint{post, i.serveRegistration, true}
		routes[base+"/register/*"] = endpoint{[]string{http.MethodGet, http.MethodPut, http.MethodDelete}, i.serveRegistered, true}
	}
	return routes
}

// basePath is the path of the issuer's URL, "" at the root of a host.
func (i *Issuer) basePath() string { return i.base }

func pathOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil { // Validate has parsed it
		panic(err)
	}
	return u.Path
}

// find returns the endpoint at a path, with or without a slash at its end. On a
// host that is shared with an API it is asked about every request, and allocates
// nothing.
func (i *Issuer) find(path string) (endpoint, bool) {
	if strings.HasPrefix(path, i.assets) {
		return endpoint{[]string{http.MethodGet, http.MethodHead}, i.pages.ServeAsset, false}, true
	}
	e, ok := i.routes[path]
	if trimmed := strings.TrimSuffix(path, "/"); !ok && trimmed != "" && !strings.HasSuffix(trimmed, "/") {
		path = trimmed
		e, ok = i.routes[path]
	}
	for n := 0; !ok && n < len(i.families); n++ {
		if rest, within := strings.CutPrefix(path, i.families[n]); within && rest != "" && !strings.Contains(rest, "/") {
			e, ok = i.routes[i.families[n]+"*"]
		}
	}
	return e, ok
}

// Serves tells whether the issuer has an endpoint at that path of a request.
func (i *Issuer) Serves(path string) bool {
	_, ok := i.find(path)
	return ok
}

// ServeHTTP answers a request to one of the issuer's endpoints. A panic in one
// becomes a server_error, so that no stack is shown and no connection is cut.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // a value of panic, as net/http compares it
				panic(v)
			}
			i.refusals.Write(w, r, fmt.Errorf("panic: %v", v))
		}
	}()
	e, ok := i.find(r.URL.Path)
	if !ok {
		notFound := oauth.Refuse(oauth.InvalidRequest, "there is no such endpoint; see %s/.well-known/oauth-authorization-server", i.config.URL)
		i.refusals.Write(w, r, notFound.WithStatus(http.StatusNotFound))
		return
	}
	if e.crossOrigin {
		allowCrossOrigin(w.Header())
		if isPreflight(r) {
			servePreflight(w, e.methods)
			return
		}
	}
	if isEarly(r) {
		early := oauth.Refuse(oauth.InvalidRequest, "the request came before the end of the TLS handshake and could be a copy; send it again")
		i.refusals.Write(w, r, early.WithStatus(http.StatusTooEarly))
		return
	}
	for _, method := range e.methods {
		if r.Method == method {
			e.serve(w, r)
			return
		}
	}
	w.Header().Set("Allow", strings.Join(e.methods, ", "))
	notAllowed := oauth.Refuse(oauth.InvalidRequest, "this endpoint answers %s only", strings.Join(e.methods, ", "))
	i.refusals.Write(w, r, notAllowed.WithStatus(http.StatusMethodNotAllowed))
}

// isEarly tells whether a request that changes something came in early data (RFC
// 8446 §2.3), which whoever has seen it pass can send again (RFC 8470 §5.2).
func isEarly(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete && r.Method != http.MethodGet && r.Method != http.MethodHead
}
