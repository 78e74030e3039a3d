// Package signin is where the issuer meets people: they sign in, agree to what
// clients ask for, look after their accounts, and sign out. It knows package issuer
// only by the functions in Config.
//
// Where to look, by path of a request:
//
//	/authorize               authorize.go, authorization_request.go  RFC 6749 §3.1, OpenID Connect Core §3.1.2
//	/login                   login.go
//	/login/callback/<id>     login_upstream.go, package upstream
//	/consent                 consent.go
//	/device                  device.go, package device               RFC 8628 §3.3
//	/account                 account.go
//	/end-session             end_session.go                          RP-Initiated Logout
//
// What every page passes: handler.go (the whole surface), browser.go (cookies, forms and where they come from),
// page_error.go (every refusal). What a sign-in leaves behind, one record a file:
// session.go, consent.go, code.go (RFC 6749 §4.1.2). What it does not leave behind:
// transaction.go, sealed into our own pages. Who may act, and how
// people go: people.go; which ways to sign in there are: logins.go.
package signin
