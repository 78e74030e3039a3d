package audit

import "slices"

// Event is the name of a security event.
type Event string

// Tokens and codes.
const (
	TokenIssued                Event = "token_issued"
	TokenRefused               Event = "token_refused"
	ClientAuthenticationFailed Event = "client_authentication_failed"
	CodeIssued                 Event = "code_issued"
	CodeReplayed               Event = "code_replayed"
	RefreshTokenReplayed       Event = "refresh_token_replayed"
	TokenRevoked               Event = "token_revoked"
	RefreshTokenRevoked        Event = "refresh_token_revoked"
	RevocationRefused          Event = "revocation_refused"
	IntrospectionRefused       Event = "introspection_refused"
	AuthorizationRevoked       Event = "authorization_revoked"
	ProbeTokensMinted          Event = "probe_tokens_minted"
)

// People.
const (
	Login           Event = "login"
	LoginFailed     Event = "login_failed"
	Logout          Event = "logout"
	ConsentGiven    Event = "consent_given"
	ConsentDenied   Event = "consent_denied"
	DeviceRequested Event = "device_requested"
	DeviceApproved  Event = "device_approved"
	DeviceDenied    Event = "device_denied"
	UserCodeUnknown Event = "user_code_unknown"
	AccountChanged  Event = "account_changed"
	PasswordChanged Event = "password_changed"
	UserAdded       Event = "user_added"
	UserRemoved     Event = "user_removed"
	UserPasswordSet Event = "user_password_set"
	UserDisabled    Event = "user_disabled"
	UserEnabled     Event = "user_enabled"
)

// Clients.
const (
	ClientAdded              Event = "client_added"
	ClientRemoved            Event = "client_removed"
	ClientSecretRotated      Event = "client_secret_rotated"
	ClientDisabled           Event = "client_disabled"
	ClientEnabled            Event = "client_enabled"
	ClientDisconnected       Event = "client_disconnected"
	ClientRegistered         Event = "client_registered"
	ClientUpdated            Event = "client_updated"
	ClientDeregistered       Event = "client_deregistered"
	RegistrationRefused      Event = "registration_refused"
	RegistrationTokenCreated Event = "registration_token_created"
	RegistrationTokenRemoved Event = "registration_token_removed"

	ApplicationRequested      Event = "application_requested"
	ApplicationRefused        Event = "application_refused"
	ApplicationApproved       Event = "application_approved"
	ApplicationRejected       Event = "application_rejected"
	ApplicationSecretRevealed Event = "application_secret_revealed"
	ApplicationSecretReused   Event = "application_secret_reused"
)

// Keys and operation.
const (
	KeyMade      Event = "key_made"
	KeyActivated Event = "key_activated"
	KeyRemoved   Event = "key_removed"
	AdminRequest Event = "admin_request"
)

// Kind says of an event what its line can have.
type Kind struct {
	Event Event

	// Anybody can cause the event, as often as they like, without being known: a
	// Budget bounds its lines.
	Anybody bool

	// Fields are the attributes that its line can have besides those of every
	// line; see CommonFields.
	Fields []string
}

// CommonFields are the attributes that any line can have: event and issuer always,
// the others where they are known.
func CommonFields() []string {
	return []string{"event", "issuer", "request_id", "remote_ip", "via", "not_logged_before"}
}

// Events lists every event there is.
func Events() []Kind {
	const anybody = true
	kind := func(event Event, anybody bool, fields ...string) Kind { return Kind{event, anybody, fields} }
	return []Kind{
		kind(TokenIssued, !anybody, "grant_type", "client_id", "subject", "actor", "scope", "resource", "authorization_id", "token_id", "subject_issuer", "parent_token_id"),
		kind(TokenRefused, anybody, "grant_type", "client_id", "error", "reason"),
		kind(ClientAuthenticationFailed, anybody, "client_id", "method", "reason"),
		kind(CodeIssued, !anybody, "client_id", "subject", "scope", "resource", "authorization_id"),
		kind(CodeReplayed, !anybody, "client_id", "subject", "authorization_id"),
		kind(RefreshTokenReplayed, !anybody, "client_id", "subject", "authorization_id"),
		kind(TokenRevoked, !anybody, "client_id", "subject", "authorization_id", "token_id"),
		kind(RefreshTokenRevoked, !anybody, "client_id", "subject", "authorization_id"),
		kind(RevocationRefused, anybody, "client_id", "owner", "token_id"),
		kind(IntrospectionRefused, anybody, "client_id", "owner", "token_id", "reason"),
		kind(AuthorizationRevoked, !anybody, "authorization_id"),
		kind(ProbeTokensMinted, !anybody, "client_id", "subject", "scope", "resource"),

		kind(Login, !anybody, "subject", "amr"),
		kind(LoginFailed, anybody, "subject", "username", "reason"),
		kind(Logout, !anybody, "subject"),
		kind(ConsentGiven, !anybody, "client_id", "subject", "scope", "resource"),
		kind(ConsentDenied, !anybody, "client_id", "subject"),
		kind(DeviceRequested, anybody, "client_id", "scope", "resource"),
		kind(DeviceApproved, !anybody, "client_id", "subject", "scope", "resource", "authorization_id"),
		kind(DeviceDenied, !anybody, "client_id", "subject", "scope", "resource"),
		kind(UserCodeUnknown, anybody),
		kind(AccountChanged, !anybody, "subject", "change", "client_id"),
		kind(PasswordChanged, !anybody, "subject"),
		kind(UserAdded, !anybody, "subject", "username", "operator"),
		kind(UserRemoved, !anybody, "subject"),
		kind(UserPasswordSet, !anybody, "subject"),
		kind(UserDisabled, !anybody, "subject"),
		kind(UserEnabled, !anybody, "subject"),

		kind(ClientAdded, !anybody, "client_id", "client_name", "client_type", "grant_types", "scope", "resource"),
		kind(ClientRemoved, !anybody, "client_id"),
		kind(ClientSecretRotated, !anybody, "client_id", "overlap"),
		kind(ClientDisabled, !anybody, "client_id"),
		kind(ClientEnabled, !anybody, "client_id"),
		kind(ClientDisconnected, !anybody, "client_id", "subject"),
		kind(ClientRegistered, !anybody, "client_id", "client_name", "client_type", "scope", "redirect_hosts"),
		kind(ClientUpdated, !anybody, "client_id", "client_name", "scope", "redirect_hosts"),
		kind(ClientDeregistered, !anybody, "client_id"),
		kind(RegistrationRefused, anybody, "endpoint", "reason"),
		kind(RegistrationTokenCreated, !anybody, "registration_token_id", "uses"),
		kind(RegistrationTokenRemoved, !anybody, "registration_token_id"),
		kind(ApplicationRequested, anybody, "reference", "name"),
		kind(ApplicationRefused, anybody, "reason"),
		kind(ApplicationApproved, !anybody, "reference", "client_id", "subject"),
		kind(ApplicationRejected, !anybody, "reference", "client_id", "subject"),
		kind(ApplicationSecretRevealed, !anybody, "reference", "client_id"),
		kind(ApplicationSecretReused, anybody, "reference", "client_id"),

		kind(KeyMade, !anybody, "kid", "alg", "signs_from"),
		kind(KeyActivated, !anybody, "kid", "alg"),
		kind(KeyRemoved, !anybody, "kid", "alg"),
		kind(AdminRequest, !anybody, "method", "path", "error"),
	}
}

// Describe returns the Kind of an event.
func (e Event) Describe() (Kind, bool) {
	all := Events()
	n := slices.IndexFunc(all, func(k Kind) bool { return k.Event == e })
	if n < 0 {
		return Kind{}, false
	}
	return all[n], true
}
