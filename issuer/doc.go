// Package issuer is an OAuth 2.0 authorization server and OpenID provider on top
// of a transactional key-value store. It knows no web server but net/http.
//
// Where to look, by path of a request:
//
//	/token                    token.go, then grant_<name>.go, code.go           RFC 6749 §3.2
//	/authorize, /login, /consent, /account, /end-session
//	                          package signin                                    RFC 6749 §3.1, OpenID Connect Core §3.1.2
//	/userinfo                 userinfo.go                                       OpenID Connect Core §5.3
//	/device-authorization     device_authorization.go, package device           RFC 8628 §3.1
//	/device                   package signin                                    RFC 8628 §3.3
//	/introspect               introspection.go                                  RFC 7662
//	/revoke                   revocation.go                                     RFC 7009
//	/register                 registration.go, registration_metadata.go,        RFC 7591
//	                          registration_approval.go, registration_token.go
//	/register/<client_id>     registration_management.go                        RFC 7592
//	/applications/            application_form.go, application_review.go, application_secret.go;
//	                          application.go is the record
//	/                         welcome.go
//	/.well-known/oauth-authorization-server,
//	/.well-known/openid-configuration
//	                          metadata.go                                       RFC 8414, OpenID Connect Discovery
//	/.well-known/jwks.json    metadata.go, package keys                         RFC 7517
//
// What every request passes: issuer.go (the whole surface, and what is made of the
// configuration), endpoints.go (other paths for it), cross_origin.go (pages of other
// origins), client_auth.go (who asks).
//
// What an operator says of an issuer: config.go, registration_config.go,
// trusted_issuer_config.go.
//
// What a token is: access_token.go (RFC 9068), id_token.go, refresh_token.go,
// identity_token.go (what a gate tells the API), probe_tokens.go. What it is worth,
// for the gates of the same process: introspector.go. Who else is believed:
// trusted_issuer.go (RFC 8693), trusted_issuer_state.go.
//
// What operators do: operate.go, operate_<what>.go, key_encryption.go; and what they
// see: observer.go, vitals.go, key_events.go, package audit. What outlives a
// configuration: state.go; which configuration decides about it: in_force.go,
// client_in_force.go; what other nodes change: follow.go.
//
// The packages below it, of which none knows package issuer:
//
//	signin     the pages on which people sign in and decide, and what that leaves behind
//	device     what devices ask for, and what people decide about it   RFC 8628
//	ledger     what was granted, and what was taken back               RFC 7009
//	clients    clients, and the rules that follow from them            RFC 7591 §2, RFC 7636, RFC 8707
//	oauth      parameters, scopes, grant types, refusals               RFC 6749
//	users      people and their passwords
//	upstream   other providers where people sign in
//	keys       the keys that sign                                      RFC 7517
//	pages      how pages look
//	record     typed records over package storage, and handles
//	seal       what browsers and devices keep for us
//	audit, limit
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
