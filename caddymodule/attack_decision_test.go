package caddymodule

import "maps"

// notApplicable are the entries that are not sent, and why: what the product does
// not have cannot be attacked.
var notApplicable = merged(gateNotApplicable, issuerNotApplicable)

// attackDecisions say what the product does where an entry leaves it a choice.
var attackDecisions = merged(gateDecisions, issuerDecisions)

// refusedEarlier are entries whose request is refused before it comes to what they
// are about, which is more than they ask for: the status, and why. The backend
// gets nothing then.
var refusedEarlier = map[string]struct {
	status int
	why    string
}{
	"GT-030": {400, "NUL stands in no field value (RFC 9110 section 5.5), so the request is refused before its origin is looked at"},
	"IX-060": {503, "an issuer whose answer cannot be understood has not said whether the token is active: nothing is issued, and the client may try again"},
	"IU-035": {415, "a form of another media type is refused before anything of it is read"},
}

var (
	gateNotApplicable = map[string]string{}

	gateDecisions = map[string]string{
		"GJ-060": "A token must name its key by kid; no key is tried on suspicion.",
		"GJ-062": "Keys that share one kid in a key set are all left out: which of them is meant would be a guess.",
		"GJ-090": "A NumericDate may have a fraction (RFC 7519 section 2).",
		"GJ-106": "nbf: 0 is a moment in the past, and passes.",
		"GJ-114": "Tokens of an issuer of this server are judged without leeway, since there is one clock. A trusted issuer has the leeway of its configuration, none by default.",
		"GJ-143": "A token names a subject, or is refused.",
		"GJ-147": "A subject with a control character, of no characters, or of more than 1024 bytes is refused; what is not ASCII reaches the API percent-encoded.",
		"GJ-155": "scope is a text with single spaces between its members (RFC 6749 section 3.3); any other form is refused as invalid_token.",
		"GJ-166": "Names of claims are compared byte for byte; those of another case are unknown and have no meaning.",
		"GJ-170": "A token that is bound to a key (cnf) is not taken for a bearer token, whatever it is bound by.",
		"GJ-171": "A chain of more than eight actors, or an act that is no object with a sub, is refused.",
		"GJ-172": "A token of more than 8 KiB is refused unread.",
		"GJ-187": "White space around a field value belongs to no value (RFC 9110 section 5.5): a token with a space behind it is the token itself, and as revoked as that one.",
		"GH-010": "A token in the query is no token: the request is answered as one without, and left out of the access log.",
		"GT-063": "What may change something and comes in early data is answered with 425 (RFC 8470 section 5.2).",
		"GH-020": "A token in the header and another in the query is refused with 400 invalid_request (RFC 6750 section 2).",
		"GH-022": "Bytes that no header may hold are refused with 400, others that no token may hold with 401.",
		"GH-024": "Only Bearer is a scheme of the gate; DPoP is not supported.",
		"GP-003": "A target that two servers could understand differently is refused with 400, on open paths too; allow_target names exceptions.",
		"GP-038": "Paths are matched without regard to case, as Caddy does, and what is not listed as public needs a token.",
		"GP-072": "A target in absolute form is refused with 400.",
		"GP-074": "Host decides nothing: the issuer, the resource and the names in answers are those of the configuration.",
		"GI-013": "Identity headers are removed on every route of the gate, open ones included.",
		"GI-015": "Names that differ only in case, hyphens, underscores, dots and the like are one name to the gate, and all of them are removed.",
		"GI-035": "Forwarded headers open nothing and change no decision. X-Forwarded-Host, -Proto and -For are set anew by reverse_proxy; those that name another URL or method are removed.",
		"GI-048": "A token of more than 8 KiB is refused, so no identity header can be longer than a token.",
		"GT-002": "No method opens anything. TRACE, TRACK and CONNECT are refused with 405.",
		"GT-013": "Methods are compared byte for byte (RFC 9110 section 9.1).",
		"GT-015": "Headers that ask for another method are removed.",
		"GT-017": "The query and the body are the API's. An API that takes a method out of them must ask for scopes by itself.",
		"GT-020": "OPTIONS * is answered by the server and reaches no API.",
		"GT-021": "With cors, the gate answers preflight requests itself, before it asks for a token, and allows credentials to nobody.",
		"GT-043": "The gate decides on the head of a request. Of one whose body turns out to be broken the API may have got the beginning, and never the end.",
		"GT-045": "Lines that end in LF alone are read as Caddy reads them; the decision is the same, and the API gets CRLF.",
		"GT-048": "Of upgrades only that to a websocket is passed.",
		"GT-050": "A websocket, or any response that goes on, ends when its token expires (plus stream_grace) and within a second when it is revoked.",
		"GT-053": "The body of a refused request is not awaited: the connection is closed where the rest is large or held back.",
		"GT-066": "The gate does not limit who shows bad tokens: a refusal costs microseconds and no write. It logs at most 20 refusals a second.",
		"GK-003": "A revoked token is refused on the next request.",
		"GK-008": "An unknown kid causes a fetch at most every 30 seconds, whatever comes of it.",
		"GK-015": "Keys that were good stay so for 24 hours when an issuer publishes none; without any the answer is 503.",
	}
)

func merged(tables ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}
