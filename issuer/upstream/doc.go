// Package upstream signs people in at another OpenID provider, as a client of
// it: the authorization code flow of OpenID Connect Core 1.0 §3.1, with PKCE
// (RFC 7636), the issuer identification of RFC 9207 and the advice of RFC 9700.
//
// Where to look, by step:
//
//	what an operator says about a provider     config.go
//	where its endpoints and keys are           discovery.go                OpenID Connect Discovery §4
//	sending the browser there                  authorization_request.go    Core §3.1.2.1, RFC 7636
//	what the browser brings back               authorization_response.go   Core §3.1.2.5 to 3.1.2.7, RFC 9207
//	the code for tokens                        token_request.go            Core §3.1.3.1 to 3.1.3.5
//	who it is                                  id_token.go                 Core §3.1.3.7
//	what the ID token left out                 userinfo.go                 Core §5.3
//	the person, as the issuer sees one         identity.go, claims.go      Core §5.1
//	a provider, made and named                 provider.go
//	every call to the provider                 transport.go
//	every refusal                              error.go
//
// # Deliberate divergences
//
//   - An ID token is checked for its signature although it came over TLS, which
//     Core §3.1.3.7 would let us skip: a proxy in between is none of the issuer's.
//   - HS256 is refused: with it, whoever reads the client secret in a
//     configuration file can be anybody.
//   - A provider that was asked for a new login (max_age=0) and does not state
//     auth_time has not shown one, and is refused.
//   - email_verified may be the string "true", which some providers send.
//   - A signed or encrypted answer of the UserInfo endpoint is refused: the
//     client is the one who registers for it.
package upstream
