// Package issuer is an OAuth 2.0 authorization server on top of a transactional
// key-value store. It knows no web server but net/http.
//
// Where to look, by path of a request:
//
//	/token                                 token.go, then grant_<name>.go    RFC 6749 §3.2
//	/introspect                            introspection.go                  RFC 7662
//	/revoke                                revocation.go, revoked.go         RFC 7009
//	/register                              registration.go and
//	                                       registration_metadata.go          RFC 7591
//	/register/<client_id>                  registration_management.go        RFC 7592
//	/.well-known/oauth-authorization-server,
//	/.well-known/openid-configuration      metadata.go                       RFC 8414, OpenID Connect Discovery
//	/.well-known/jwks.json                 metadata.go, package keys         RFC 7517
//
// What every request passes: issuer.go (the whole surface), form.go (parameters),
// client_auth.go (who asks), error.go (every refusal). What a token is:
// access_token.go (RFC 9068), scope.go, resource.go (RFC 8707). Who may ask:
// client.go (the record), clients.go (operations on it).
//
// # Deliberate divergences
//
//   - A client_id in the body that equals the one in the Basic credentials is
//     not a second authentication method (RFC 6749 §2.3): clients send it.
//   - A public client that sends a secret is refused instead of the secret being
//     ignored: a check that cannot fail should not look like one.
//   - scope at its ends and between tokens may have more than one space.
//   - A revocation is answered with 200 and an empty JSON object.
package issuer
