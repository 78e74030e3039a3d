package caddymodule

// browserAttackAreas are the areas of the issuer that a browser goes through.
var browserAttackAreas = []attackArea{
	{"issuer-redirect-uri", redirectURIAttack},
	{"issuer-authorize", authorizeAttack},
	{"issuer-ui-session", sessionAttack},
	{"issuer-oidc", openIDAttack},
	{"issuer-metadata-misc", metadataAttack},
	{"issuer-dcr-ssrf", registrationAttack},
	{"issuer-logout", logoutAttack},
}
