// Package pages renders everything that people see of the issuer: sign-in, consent, the device pages, the account page, the
// welcome page and the forms around applications.
//
// Each page is one file here (its data, with the contract of every field), and one file in templates/ (its markup):
//
//	login.go        sign-in                                 OpenID Connect Core §3.1.2.3
//	consent.go      what a client asks for                  RFC 6749 §3.1, OpenID Connect Core §3.1.2.4
//	error.go        an error that has no client to go to    RFC 6749 §4.1.2.1
//	account.go      password, sessions, connected clients
//	logout.go       confirmation, and after                 OpenID Connect RP-Initiated Logout §2, §6
//	device.go       code, confirmation, result              RFC 8628 §3.3
//	welcome.go      how to use this server
//	application.go  requesting an application, and answering the request
//	secret.go       a client secret, shown once
//	form_post.go    response_mode=form_post                 OAuth 2.0 Form Post Response Mode
//
// and beside them:
//
//	pages.go        Options, New, and the one function that writes a response
//	headers.go      the security headers of every page
//	field.go        the names of the form fields, shared with whoever reads the forms
//	language.go     which language a request is answered in; the switch
//	messages.go     the texts of messages/<language>.json, dates, durations
//	template.go     parsing, the functions that templates may call, the operator's own templates
//	specimen.go     data that tries a template before it is trusted
//	snippet.go      the code examples of snippets/
//	asset.go        stylesheet, logo, icon, the one script; accent.go makes the colours
//
// Pages decide nothing: they show what they are given and name the fields that come back. They hold no secret, keep no state
// between requests, and never render text as markup: there is no template.HTML in this package. The stylesheet stands in a
// file, as do the colours, so that no page needs inline style or script.
package pages
