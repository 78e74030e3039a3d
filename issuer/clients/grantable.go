package clients

import (
	"slices"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// GrantableScope is what may be granted of what was asked for: scopes that are
// unknown or not the client's are left out, and the token's answer says what was
// granted. A request without scope gets the client's, but for offline_access,
// which has to be asked for (OpenID Connect Core §11).
func (c *Client) GrantableScope(parameter string) (oauth.Scope, error) {
	asked, ok := oauth.ParseScope(parameter)
	if !ok {
		return nil, oauth.ErrScopeSyntax
	}
	may := c.Scope
	if !c.MayUse(oauth.GrantRefreshToken) || len(asked) == 0 {
		may = slices.DeleteFunc(slices.Clone(may), func(s string) bool { return s == oauth.ScopeOfflineAccess })
	}
	if len(asked) == 0 {
		return may, nil
	}
	granted := asked.Intersect(may)
	if len(granted) == 0 {
		return nil, oauth.Refuse(oauth.InvalidScope, "none of the scopes asked for can be granted to this client, which may have: %s", may)
	}
	return granted, nil
}
