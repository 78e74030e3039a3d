package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// metadata is the authorization server metadata (RFC 8414 §2, OpenID Connect
// Discovery §3). It says exactly what works, and follows from the
// configuration alone: never from the Host header.
type metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ScopesSupported       []string `json:"scopes_supported"`
	GrantTypesSupported   []string `json:"grant_types_supported"`

	// Without an authorization endpoint there is no response type; RFC 8414
	// requires the member all the same.
	ResponseTypesSupported []string `json:"response_types_supported"`

	TokenEndpointAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionEndpointAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationEndpointAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
}

// marshalMetadata makes the document once.
func (i *Issuer) marshalMetadata() []byte {
	url := i.config.URL
	methods := []string{clientSecretBasic, clientSecretPost}
	document, err := json.Marshal(metadata{
		Issuer:                 url,
		TokenEndpoint:          url + "/token",
		JWKSURI:                url + "/.well-known/jwks.json",
		IntrospectionEndpoint:  url + "/introspect",
		RevocationEndpoint:     url + "/revoke",
		ScopesSupported:        i.config.scopeNames(),
		GrantTypesSupported:    GrantTypes(),
		ResponseTypesSupported: []string{},

		TokenEndpointAuthMethods:         methods,
		IntrospectionEndpointAuthMethods: methods,
		RevocationEndpointAuthMethods:    methods,
	})
	if err != nil { // strings only
		panic(err)
	}
	return document
}

// serveMetadata answers with the metadata.
func (i *Issuer) serveMetadata(w http.ResponseWriter, r *http.Request) {
	writeDocument(w, i.metadata, time.Hour)
}

// serveJWKS answers with the issuer's public keys.
func (i *Issuer) serveJWKS(w http.ResponseWriter, r *http.Request) {
	writeDocument(w, i.realm.keys.JWKS(), jwksMaxAge)
}

// writeDocument answers with a public document, which any origin may read.
func writeDocument(w http.ResponseWriter, document []byte, maxAge time.Duration) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(maxAge/time.Second)))
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(document)
}
