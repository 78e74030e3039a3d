package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
)

// metadata is the authorization server metadata (RFC 8414 §2, OpenID Connect
// Discovery §3). It says exactly what works, and follows from the
// configuration alone: never from the Host header.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"` // RFC 8628 §4
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint,omitempty"` // RFC 7591 §3, where it is on
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ScopesSupported       []string `json:"scopes_supported"`
	GrantTypesSupported   []string `json:"grant_types_supported"`

	ResponseTypesSupported        []string `json:"response_types_supported"`
	ResponseModesSupported        []string `json:"response_modes_supported"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported"`               // RFC 8414 §2
	ResponseIssSupported          bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3

	SubjectTypesSupported        []string         `json:"subject_types_supported"`
	IDTokenSigningAlgSupported   []keys.Algorithm `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported              []string         `json:"claims_supported"`
	ClaimTypesSupported          []string         `json:"claim_types_supported"`
	ACRValuesSupported           []string         `json:"acr_values_supported"`
	PromptValuesSupported        []string         `json:"prompt_values_supported"`
	UILocalesSupported           []string         `json:"ui_locales_supported"`
	ClaimsParameterSupported     bool             `json:"claims_parameter_supported"`
	RequestParameterSupported    bool             `json:"request_parameter_supported"`
	RequestURIParameterSupported bool             `json:"request_uri_parameter_supported"`

	TokenEndpointAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionEndpointAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationEndpointAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
}

// claimsSupported are those that ID tokens and userinfo can have.
var claimsSupported = []string{
	"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash",
	"name", "given_name", "family_name", "preferred_username", "locale", "picture", "updated_at",
	"email", "email_verified", "phone_number", "phone_number_verified", "address",
}

// marshalMetadata makes the document of an issuer that signs with these
// algorithms.
func (i *Issuer) marshalMetadata(algorithms ...keys.Algorithm) []byte {
	url := i.config.URL
	methods := []string{clientSecretBasic, clientSecretPost} // without room: appending makes another one
	document, err := json.Marshal(metadata{
		Issuer:                url,
		TokenEndpoint:         url + "/token",
		JWKSURI:               url + "/.well-known/jwks.json",
		IntrospectionEndpoint: url + "/introspect",
		RevocationEndpoint:    url + "/revoke",
		ScopesSupported:       i.config.scopeNames(),
		GrantTypesSupported:   oauth.GrantTypes(),
		AuthorizationEndpoint: url + "/authorize",
		UserinfoEndpoint:      url + "/userinfo",
		DeviceEndpoint:        url + "/device-authorization",
		EndSessionEndpoint:    url + "/end-session",
		RegistrationEndpoint:  i.registrationEndpoint(),

		ResponseTypesSupported:        []string{"code"},
		ResponseModesSupported:        []string{"query", "form_post"},
		CodeChallengeMethodsSupported: []string{"S256"},
		ResponseIssSupported:          true,

		SubjectTypesSupported:      []string{"public"},
		IDTokenSigningAlgSupported: algorithms,
		ClaimsSupported:            claimsSupported,
		ClaimTypesSupported:        []string{"normal"},
		ACRValuesSupported:         []string{signin.ACRPassword},
		PromptValuesSupported:      []string{"none", "login", "consent", "select_account"},
		UILocalesSupported:         []string{"en", "fr"},

		TokenEndpointAuthMethods:         append(methods, noClientAuth),
		IntrospectionEndpointAuthMethods: methods,
		RevocationEndpointAuthMethods:    append(methods, noClientAuth),
	})
	if err != nil { // strings only
		panic(err)
	}
	return document
}

// serveMetadata answers with the metadata. It is made once, but for the time in
// which the key of another algorithm still signs: clients refuse ID tokens of an
// algorithm that is not in it.
func (i *Issuer) serveMetadata(w http.ResponseWriter, r *http.Request) {
	document := i.metadata
	if signs := i.realm.keys.Algorithm(); signs != "" && signs != i.config.SigningAlgorithm {
		document = i.marshalMetadata(signs, i.config.SigningAlgorithm)
	}
	writeDocument(w, document, time.Hour)
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
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(document)
}
