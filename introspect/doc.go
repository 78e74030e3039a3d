// Package introspect answers one question: is this access token active, and
// what does it grant? It knows neither the issuer of this project nor Caddy and
// can be used without both.
//
// An Introspector (introspect.go) answers it. There are four:
//
//	jwt.go, claims.go   JWT: tokens signed by one issuer       RFC 9068, RFC 7515, RFC 7519
//	remote.go           Remote: asks the issuer                RFC 7662
//	userinfo.go         Userinfo: shows the issuer the token   OpenID Connect Core §5.3
//	cache.go            Cache: remembers what another found; cache_record.go is what it keeps
//
// Around them stand
//
//	bearer.go           the token in a request, the challenge  RFC 6750, RFC 9728
//	keyset.go           Key, KeySet, ParseKeySet               RFC 7517, RFC 7518, RFC 8037
//	remote_keyset.go    RemoteKeySet: keys an issuer publishes
//	metadata.go         Metadata of an issuer                  RFC 8414, OpenID Connect Discovery
//	discovered.go       metadata that is fetched when needed
//	question.go         questions about tokens, and their answers
//	may_act.go          whom the subject lets act              RFC 8693 §4.4
//	signature.go        the algorithms                         RFC 7518, RFC 8037
//	roca.go             RSA keys that anybody can factor       CVE-2017-15361
//	strictjson.go       JSON that reads in one way only;
//	                    strictjson_scanner.go is its grammar   RFC 8259, RFC 7493
//	object.go           ReadObject, for others who need that
//	claim.go            a claim of a Token by its name
//	base64url.go        base64url that reads in one way only   RFC 7515
//	fetch.go            bounded exchanges with other servers
//	health.go           how an issuer elsewhere has answered
//
// # Deliberate divergences
//
// Stricter than the specifications: a token needs a kid; repeated members and
// text that is not Unicode are refused at every depth of its JSON; any crit is
// refused; a token bound to a key (cnf) is refused, since no proof is checked
// here; an RSA key without alg means RS256 and nothing else.
//
// More lenient: an empty scope string means no scope. nbf, which RFC 9068 does
// not ask for, may be any time that has passed, 0 included.
//
// Not judged here: whether the audience, the scope or the actor of an active
// token is what a route asks for. Token has the facts; the gateway compares.
package introspect
