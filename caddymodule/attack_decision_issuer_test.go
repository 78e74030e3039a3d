package caddymodule

// What is said of the entries of the issuer's areas; see notApplicable and
// attackDecisions.
var (
	issuerNotApplicable = merged(issuerTokenNotApplicable, browserNotApplicable)
	issuerDecisions     = merged(issuerTokenDecisions, browserDecisions)
)
