package issuer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Issuer is an OAuth 2.0 authorization server and OpenID provider. It is an
// http.Handler for its endpoints and an introspect.Introspector for its tokens.
type Issuer struct {
	config   Config
	state    *State
	realm    *realm
	declared map[string]*Client
	routes   map[string]endpoint
	metadata []byte
}

// New makes an issuer on a state. It loads the issuer's keys and revocations
// and makes the first key where there is none; it changes nothing else. The
// error says what is wrong with the configuration, or is the storage's.
func New(ctx context.Context, config Config, state *State) (*Issuer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	i := &Issuer{config: config.withDefaults(), state: state, declared: make(map[string]*Client)}
	for n := range i.config.Clients {
		client := i.config.Clients[n]
		client.Declared = true
		i.declared[client.ID] = &client
	}
	var err error
	if i.realm, err = state.realm(ctx, config.URL, i.config.keyPolicy()); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", config.URL, err)
	}
	i.routes = i.surface()
	i.metadata = i.marshalMetadata()
	return i, nil
}

// URL is the issuer identifier.
func (i *Issuer) URL() string { return i.config.URL }

// endpoint is one place of the issuer's surface.
type endpoint struct {
	methods []string
	serve   http.HandlerFunc
}

// surface lists every path that the issuer answers. There is no other.
func (i *Issuer) surface() map[string]endpoint {
	post, get := []string{http.MethodPost}, []string{http.MethodGet, http.MethodHead}
	base := i.basePath()
	routes := map[string]endpoint{
		base + "/token":      {post, i.serveToken},
		base + "/introspect": {post, i.serveIntrospection},
		base + "/revoke":     {post, i.serveRevocation},
	}
	// Metadata stands where RFC 8414 §3.1 puts it (well-known inserted before
	// the issuer's path), where OpenID Connect Discovery §4 puts it (appended),
	// and, because clients mix them up, under both names in both places.
	for _, prefix := range []string{base + "/.well-known/", "/.well-known/"} {
		suffix := ""
		if prefix != base+"/.well-known/" {
			suffix = base
		}
		routes[prefix+"openid-configuration"+suffix] = endpoint{get, i.serveMetadata}
		routes[prefix+"oauth-authorization-server"+suffix] = endpoint{get, i.serveMetadata}
	}
	routes[base+"/.well-known/jwks.json"] = endpoint{get, i.serveJWKS}
	return routes
}

// basePath is the path of the issuer's URL, "" at the root of a host.
func (i *Issuer) basePath() string {
	u, err := url.Parse(i.config.URL)
	if err != nil { // Validate has parsed it
		panic(err)
	}
	return u.Path
}

// find returns the endpoint at a path, with or without a slash at its end.
func (i *Issuer) find(path string) (endpoint, bool) {
	e, ok := i.routes[path]
	if !ok && len(path) > 1 {
		e, ok = i.routes[strings.TrimSuffix(path, "/")]
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
			if v == http.ErrAbortHandler {
				panic(v)
			}
			i.writeError(w, r, fmt.Errorf("panic: %v", v))
		}
	}()
	e, ok := i.find(r.URL.Path)
	if !ok {
		notFound := refuse(InvalidRequest, "there is no such endpoint; see %s/.well-known/oauth-authorization-server", i.config.URL)
		notFound.status = http.StatusNotFound
		i.writeError(w, r, notFound)
		return
	}
	for _, method := range e.methods {
		if r.Method == method {
			e.serve(w, r)
			return
		}
	}
	w.Header().Set("Allow", strings.Join(e.methods, ", "))
	notAllowed := refuse(InvalidRequest, "this endpoint answers %s only", strings.Join(e.methods, ", "))
	notAllowed.status = http.StatusMethodNotAllowed
	i.writeError(w, r, notAllowed)
}
