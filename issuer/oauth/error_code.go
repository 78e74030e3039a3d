package oauth

// ErrorCode is an error code of RFC 6749 §5.2 or of an extension of it.
type ErrorCode string

// The error codes of the endpoints that answer JSON.
const (
	InvalidRequest         ErrorCode = "invalid_request"         // RFC 6749 §5.2
	InvalidClient          ErrorCode = "invalid_client"          // RFC 6749 §5.2
	InvalidGrant           ErrorCode = "invalid_grant"           // RFC 6749 §5.2
	UnauthorizedClient     ErrorCode = "unauthorized_client"     // RFC 6749 §5.2
	UnsupportedGrantType   ErrorCode = "unsupported_grant_type"  // RFC 6749 §5.2
	InvalidScope           ErrorCode = "invalid_scope"           // RFC 6749 §5.2
	InvalidTarget          ErrorCode = "invalid_target"          // RFC 8707 §2
	InvalidToken           ErrorCode = "invalid_token"           // RFC 6750 §3.1
	InsufficientScope      ErrorCode = "insufficient_scope"      // RFC 6750 §3.1
	ServerError            ErrorCode = "server_error"            // RFC 6749 §4.1.2.1
	TemporarilyUnavailable ErrorCode = "temporarily_unavailable" // RFC 6749 §4.1.2.1
)

// Error codes of the authorization endpoint that the others do not have.
const (
	AccessDenied             ErrorCode = "access_denied"              // RFC 6749 §4.1.2.1
	UnsupportedResponseType  ErrorCode = "unsupported_response_type"  // RFC 6749 §4.1.2.1
	LoginRequired            ErrorCode = "login_required"             // OpenID Connect Core §3.1.2.6
	ConsentRequired          ErrorCode = "consent_required"           // OpenID Connect Core §3.1.2.6
	RequestNotSupported      ErrorCode = "request_not_supported"      // OpenID Connect Core §3.1.2.6
	RequestURINotSupported   ErrorCode = "request_uri_not_supported"  // OpenID Connect Core §3.1.2.6
	RegistrationNotSupported ErrorCode = "registration_not_supported" // OpenID Connect Core §3.1.2.6
)

// Error codes of RFC 8628 §3.5.
const (
	AuthorizationPending ErrorCode = "authorization_pending"
	SlowDown             ErrorCode = "slow_down"
	ExpiredToken         ErrorCode = "expired_token"
)

// Error codes of RFC 7591 §3.2.2.
const (
	InvalidRedirectURI       ErrorCode = "invalid_redirect_uri"
	InvalidClientMetadata    ErrorCode = "invalid_client_metadata"
	InvalidSoftwareStatement ErrorCode = "invalid_software_statement"
)
