package pages

// The names of the fields that come back from the forms of the pages. Every form is posted as
// application/x-www-form-urlencoded and carries FieldCSRF.
const (
	FieldCSRF        = "csrf_token"  // the CSRF of the page's data, unchanged
	FieldTransaction = "transaction" // the Transaction of the page's data, unchanged

	// FieldAction is the name of the button that was pressed; its values are the Action constants. A form that is sent with
	// the Enter key carries the value of its first button.
	FieldAction = "action"

	FieldUsername    = "username"
	FieldPassword    = "password"
	FieldNewPassword = "new_password"
	FieldUpstream    = "upstream" // Upstream.ID
	FieldSession     = "session"  // Session.ID
	FieldConnection  = "connection"
	FieldUserCode    = "user_code"

	FieldName         = "name"
	FieldDescription  = "description"
	FieldClientType   = "client_type"   // "public", "confidential" or "" (not sure)
	FieldGrantType    = "grant_type"    // repeated; none: not sure
	FieldRedirectURIs = "redirect_uris" // one a line
	FieldResource     = "resource"      // repeated
	FieldResources    = "resources"     // others, one a line
	FieldScope        = "scope"         // repeated
	FieldScopes       = "scopes"        // others, separated by spaces or lines
	FieldContact      = "contact"
	FieldReason       = "reason"
)

// The values of FieldAction.
const (
	ActionLogin    = "login"    // Login: username and password
	ActionUpstream = "upstream" // Login: the identity provider in FieldUpstream
	ActionCaddy    = "caddy"    // Login: as the user that Caddy has authenticated

	ActionAllow      = "allow"       // Consent, DeviceConfirm
	ActionDeny       = "deny"        // Consent, DeviceConfirm
	ActionSwitchUser = "switch-user" // Consent, DeviceConfirm: sign in as someone else

	ActionChangePassword   = "change-password"    // Account
	ActionEndSession       = "end-session"        // Account: the session in FieldSession
	ActionEndOtherSessions = "end-other-sessions" // Account: every session but the current one
	ActionDisconnect       = "disconnect"         // Account: the client in FieldConnection

	ActionLogout   = "logout" // Logout; Account
	ActionStay     = "stay"   // Logout: remain signed in
	ActionContinue = "continue"
	ActionApprove  = "approve" // ApplicationReview
	ActionReject   = "reject"  // ApplicationReview
	ActionReveal   = "reveal"  // SecretReveal
)
