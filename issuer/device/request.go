package device

import (
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const (
	// Lifetime is how long a person has to enter the code (RFC 8628 §3.2).
	Lifetime = 10 * time.Minute
	// Interval is how long a device waits between two polls, and by how
	// much it has to slow down (§3.5).
	Interval = 5 * time.Second
)

// Request is what a device asks for. It is not stored: sealed, it is the
// device code itself, so that whatever is lost with a restart comes back with
// the device's next poll.
type Request struct {
	ID        string      `json:"id"`
	ClientID  string      `json:"client_id"`
	UserCode  string      `json:"user_code"` // as people type it, without the dash
	Scope     oauth.Scope `json:"scope"`
	Audience  []string    `json:"audience"`
	Address   string      `json:"address"`
	Requested time.Time   `json:"requested"`
	Expiry    time.Time   `json:"expiry"`
}
