// Package issuer is an OAuth 2.0 authorization server and OpenID provider on top
// of a transactional key-value store. It knows no web server but net/http.
//
// Where to look, by path of a request:
//
//	/token                    token.go, then grant_<name>.go                    RFC 6749 §3.2
//	/authorize                authorize.go, authorization_request.go            RFC 6749 §3.1, OpenID Connect Core §3.1.2
//	/login, /login/callback/  login.go, login_upstream.go, package upstream
//	/consent                  consent.go
//	/account                  account.go
//	/userinfo                 userinfo.go                                       OpenID Connect Core §5.3
//	/end-session              end_session.go                                    RP-Initiated Logout
//	/device-authorization     device_authorization.go, device_code.go           RFC 8628 §3.1
//	/device                   device.go                                         RFC 8628 §3.3
//	/introspect               introspection.go                                  RFC 7662
//	/revoke                   revocation.go, revoked.go                         RFC 7009
//	/register                 registration.go, registration_metadata.go,        RFC 7591
//	                          registration_approval.go
//	/register/<client_id>     registration_management.go                        RFC 7592
//	/applications/            application_form.go, application_review.go, application_secret.go
//	/                         welcome.go
//	/.well-known/oauth-authorization-server,
//	/.well-known/openid-configuration
//	                          metadata.go                                       RFC 8414, OpenID Connect Discovery
//	/.well-known/jwks.json    metadata.go, package keys                         RFC 7517
//
// What every request passes: issuer.go (the whole surface), endpoints.go (other
// paths for it), form.go (parameters), client_auth.go (who asks), error.go and
// page_error.go (every refusal). What a token is: access_token.go (RFC 9068),
// id_token.go, scope.go, resource.go (RFC 8707). Who may ask: client.go (the
// record), clients.go (operations on it).
//
// What a sign-in leaves behind, one record a file: session.go, consent.go, code.go
// (RFC 6749 §4.1, pkce.go, redirect_uri.go), authorization.go (what was granted
// once; every token carries its id), refresh_token.go. What it does not leave
// behind: transaction.go, sealed into our own pages by seal.go. Forms and cookies:
// browser.go.
//
// What outlives a configuration: state.go. Who else is believed: trusted_issuer.go
// (RFC 8693).
//
// # Deliberate divergences
//
//   - A client_id in the body that equals the one in the Basic credentials is
//     not a second authentication method (RFC 6749 §2.3): clients send it.
//   - A public client that sends a secret is refused instead of the secret being
//     ignored: a check that cannot fail should not look like one.
//   - scope at its ends and between tokens may have more than one space.
//   - At /authorize and /device-authorization, scopes that are unknown or not the
//     client's are left out; the token's answer says what was granted.
//   - redirect_uri may be left out at the token endpoint by a client that has only
//     one (RFC 6749 §4.1.3 requires it): an older server has it so.
//   - A refresh token may be sent again for some seconds and gets the same
//     successor, as long as nobody used that one: answers get lost.
//   - grant_type and the token types of a token exchange may stand in one pair of
//     double quotes, and a line break may follow an ampersand: a published example
//     is written so, and pasted.
//   - In token exchange the client may authenticate by its own access token in
//     Authorization, with or without Bearer.
//   - A revocation is answered with 200 and an empty JSON object.
package issuer
