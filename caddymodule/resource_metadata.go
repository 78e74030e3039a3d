package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(new(ResourceMetadata)) }

// resourceMetadata is the document by which clients find out how to call a
// resource (RFC 9728 §2). It is made from the lines of the gates before it.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
}

// wellKnownResource is inserted between the host and the path of a resource (RFC
// 9728 §3.1).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// metadataPath is where the metadata of a resource stands on its host.
func metadataPath(resource *url.URL) string {
	return wellKnownResource + strings.TrimSuffix(resource.EscapedPath(), "/")
}

// publishMetadata adds what a gate asks for to the metadata of its resource and
// returns the metadata's URL; none for a resource that is not on the web.
func publishMetadata(p *Protect) string {
	u, err := url.Parse(p.Resource)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !p.PublishMetadata {
		return ""
	}
	p.app.published.add(p)
	place := url.URL{Scheme: u.Scheme, Host: u.Host, Path: wellKnownResource + strings.TrimSuffix(u.Path, "/"), RawQuery: u.RawQuery}
	if u.RawPath != "" {
		place.RawPath = metadataPath(u)
	}
	return place.String()
}

func appendNew(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// published is the metadata of the resources of one configuration. Gates add to
// it while they are provisioned, which is before any request.
type published struct {
	mu        sync.Mutex
	documents map[string]*resourceMetadata
}

func (all *published) add(p *Protect) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.documents == nil {
		all.documents = make(map[string]*resourceMetadata)
	}
	document := all.documents[p.Resource]
	if document == nil {
		document = &resourceMetadata{Resource: p.Resource, BearerMethods: []string{"header"}}
		all.documents[p.Resource] = document
	}
	for _, s := range p.sources {
		document.AuthorizationServers = appendNew(document.AuthorizationServers, s.url)
	}
	for _, scope := range p.requirement.offered {
		document.ScopesSupported = appendNew(document.ScopesSupported, scope)
	}
}

// document returns the metadata of a resource as JSON, nil if there is none.
func (all *published) document(resource string) ([]byte, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	document := all.documents[resource]
	if document == nil {
		return nil, nil
	}
	return json.Marshal(document)
}

// ResourceMetadata serves the metadata of a protected resource (RFC 9728). The
// directive oauth_protect adds a route with it beside itself, at the well-known
// place. In a handle block, which that place is outside of, and in JSON, it wants
// a route of its own: oauth_resource_metadata <resource>.
type ResourceMetadata struct {
	// Resource as in the gate that protects it.
	Resource string `json:"resource"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (*ResourceMetadata) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oauth_resource_metadata", New: func() caddy.Module { return new(ResourceMetadata) }}
}

// Provision finds the metadata of this configuration.
func (m *ResourceMetadata) Provision(ctx caddy.Context) (err error) {
	m.app, err = oauthAppOrDefault(ctx)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (m *ResourceMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	document, err := m.app.published.document(m.Resource)
	if err != nil {
		return err
	}
	if document == nil {
		return next.ServeHTTP(w, r)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*, Authorization") // of clients that send some with every request
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=300")
	_, err = w.Write(document)
	return err
}

var (
	_ caddy.Provisioner           = (*ResourceMetadata)(nil)
	_ caddyhttp.MiddlewareHandler = (*ResourceMetadata)(nil)
)
