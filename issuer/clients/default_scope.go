package clients

import "github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"

// DefaultScope gives metadata that names no scope what it takes to sign a person
// in, if the client has a grant in which a person decides; to a client that may
// refresh its tokens, offline_access as well. Without any scope every one of its
// requests would be refused. The names of grant types must be the full ones, as
// Validate leaves them.
func (m *Metadata) DefaultScope() {
	if len(m.Scope) > 0 || !m.MayUse(oauth.GrantAuthorizationCode) && !m.MayUse(oauth.GrantDeviceCode) {
		return
	}
	m.Scope = oauth.Scope{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail}
	if m.MayUse(oauth.GrantRefreshToken) {
		m.Scope = append(m.Scope, oauth.ScopeOfflineAccess)
	}
}
