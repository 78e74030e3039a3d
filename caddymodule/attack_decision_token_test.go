package caddymodule

// What is said of the entries of tokenAttackAreas; see notApplicable and
// attackDecisions.
var (
	issuerTokenNotApplicable = map[string]string{
		"IF-002": "the consent page is agreed to as a whole or not at all, so that there is nothing to untick",
		"IF-023": "a running server's clock is not turned; TestRefreshTokenLifetime in package issuer bends the time",
		"ID-009": "there are no rules about which person may use which client",
		"IT-026": "no request is known that makes the issuer panic; the fuzz tests of package issuer look for one, and TestPanicInAnEndpoint there makes one",
	}
	issuerTokenDecisions = map[string]string{
		"IL-026": "a public client that sends a secret is refused: a check that cannot fail should not look like one",
		"IL-025": "a secret in the query is not read; Caddy's access log would write it down, so the log needs a filter for client_secret",
		"IL-029": "a confidential client without a secret cannot be declared",
		"IL-035": "client assertions are refused and not offered in the metadata; the other entries of private_key_jwt follow",
		"IT-027": "pages of every origin may read the token endpoint's answers, without credentials of the browser",
		"IT-028": "client credentials: a scope that is unknown is refused; where a person signs in it is left out, and the answer says what was granted",
		"IT-031": "an access token lives an hour by default, because a gate beside the issuer looks revocations up on every request; access_token_lifetime makes it shorter",
		"IX-036": "a request to the token endpoint has 64 KiB at most: a token of that size alone is 413, a shorter one is judged",
		"IX-047": "the chain has four actors at most, the current one included",
		"IX-059": "503 and Retry-After after two seconds at most",
		"IF-004": "a used refresh token may be sent again within refresh_token_grace (5 s by default) and gets the same successor, until that is used; then, and after the grace, the chain ends",
		"IF-017": "people are removed; everything that they granted ends with them",
		"IF-018": "a new password ends every authorization that the person gave",
		"IF-022": "the old secret works on for a day unless the rotation says otherwise (overlap_seconds); then it is refused",
		"ID-010": "wrong passwords slow their sender down and lock nobody out; removal and a new password end what was approved",
		"ID-012": "ten wrong user codes of an address are free, then one every 30 seconds; a right one gives back only itself",
		"II-029": "the tokens of who is removed end at once",
	}
)
