// Package oauth is the language of requests and answers that the issuer's
// endpoints share:
//
//	form.go        parameters, and reading them                 RFC 6749 §3.2
//	scope.go       sets of scopes, those of OpenID Connect      RFC 6749 §3.3, OpenID Connect Core §5.4
//	grant_type.go  the grant types there are                    RFC 6749 §4, RFC 8628, RFC 8693
//	error_code.go  the error codes there are                    RFC 6749 §5.2 and extensions
//	error.go       a refusal, its HTTP status and its answer    RFC 6749 §5.2
//
// It knows neither clients nor people, and decides nothing that a configuration
// could change.
package oauth
