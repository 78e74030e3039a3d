package caddymodule

// What is said of the entries of browserAttackAreas; see notApplicable and
// attackDecisions.
var (
	browserNotApplicable = map[string]string{
		"IA-046": "There is no endpoint for pushed authorization requests; a request_uri of any kind is refused.",
		"IA-048": "There is no endpoint for pushed authorization requests; /par does not exist.",
	}

	browserDecisions = map[string]string{
		"IR-093": "redirect_uri may be left out at the token endpoint by a client that has only one registered; one that is sent must be that of the authorization request.",
		"IA-024": "Of response modes there are query and form_post.",
		"IA-034": "A scope that stands twice counts once.",
		"IA-035": "Scopes that are unknown or not the client's are left out; a request that asks for nothing else is refused. The token's answer says what was granted.",
		"IA-047": "request_uri is refused, whatever else the request says.",
		"IA-052": "Caddy's access log keeps what stands in addresses: a log of the issuer's site needs a filter for code, state and id_token_hint.",
		"IA-056": "A public client that is answered on a loopback port or a private-use scheme is agreed to anew each time.",
		"IU-034": "A GET of the consent page asks the question, again if need be, and decides nothing whatever it carries.",
		"IU-048": "Two session cookies of one name count as none.",
		"IU-052": "No parameter says where to go after the sign-in: that is sealed in the form, and bound to the browser.",
		"IU-070": "The issuer's addresses are those of the configuration, whatever Host says.",
		"IU-073": "After five wrong passwords for an account from an address each attempt waits, for 5 minutes at most; an account tried from everywhere delays strangers by 30 seconds, and nobody where they have signed in lately.",
		"IO-015": "The claims parameter is not supported, which the metadata says, and is not read.",
		"IO-017": "An authorization request of more than 16 KiB is refused with 414, unread.",
		"IO-018": "The claims parameter is not supported, which the metadata says, and is not read; id_token_hint is how a client says whom it expects.",
		"IO-025": "login_hint fills in the name on the sign-in page, without control characters and cut to 128 bytes.",
		"IG-003": "Without an ID token of the person who is signed in, signing out asks first.",
		"IG-007": "What was granted for longer than the session (offline_access) outlives signing out; all else ends with it.",
		"IM-005": "The metadata is that of the configuration, whatever Host says.",
		"IM-007": "Codes and tokens are looked up by their hash.",
		"IY-001": "Registration is off unless it is configured; /register does not exist then.",
		"IY-019": "The server fetches nothing that a client names: jwks_uri, jwks, request_uris, sector_identifier_uri, backchannel_logout_uri and software_statement are refused.",
		"IY-045": "Members that the server does not know, logo_uri and frontchannel_logout_uri among them, are ignored and kept nowhere.",
		"IY-051": "A client may register itself for authorization_code, refresh_token and device_code; other grant types are refused.",
		"IY-054": "A client's id and secrets are the server's to choose; members that the server does not know are ignored.",
		"IY-062": "An address may register 20 clients an hour, and there may be 1000 clients that nobody has agreed to, a quarter of them of one address; each is forgotten after seven days. Beyond that the answer is 429.",
	}
)
