package upstream

import (
	"context"
	"encoding/json"
)

// userInfo returns what the UserInfo endpoint says of the subject (Core §5.3).
func (p *Provider) userInfo(ctx context.Context, m *metadata, accessToken, subject string) (claims, error) {
	body, err := getJSON(ctx, p.client, "userinfo endpoint", m.UserInfoEndpoint, accessToken)
	if err != nil {
		return nil, err
	}
	added, err := claimsOf(func(v any) error { return json.Unmarshal(body, v) })
	if err != nil {
		return nil, refused("userinfo endpoint: %w", err)
	}
	// The sub Claim in the UserInfo Response MUST be verified to exactly match
	// the sub Claim in the ID Token (Core §5.3.2).
	if added.text("sub") != subject {
		return nil, refused("userinfo endpoint: sub is not that of the ID token (Core §5.3.2)")
	}
	return added, nil
}

// lacks tells whether the ID token leaves out what the configuration maps, or
// what a person is usually called.
func (p *Provider) lacks(stated claims) bool {
	names := p.config.Claims
	username := names.Username
	if username == "" {
		username = "preferred_username"
	}
	for _, name := range []string{username, names.Name, names.Email, names.EmailVerified} {
		if _, ok := stated[name]; !ok {
			return true
		}
	}
	standard := ClaimNames{}.withDefaults()
	for _, mapped := range [][2]string{
		{names.GivenName, standard.GivenName}, {names.FamilyName, standard.FamilyName},
		{names.Locale, standard.Locale}, {names.Picture, standard.Picture},
	} {
		if _, ok := stated[mapped[0]]; !ok && mapped[0] != mapped[1] {
			return true
		}
	}
	return false
}
