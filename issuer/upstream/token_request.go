package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// tokens is what the token endpoint answers.
type tokens struct{ IDToken, AccessToken string }

// oauth returns this client, as the OAuth library describes one.
func (p *Provider) oauth(m *metadata, redirectURI string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     p.config.ClientID,
		ClientSecret: p.config.ClientSecret,
		Scopes:       p.config.Scopes,
		RedirectURL:  redirectURI,
		Endpoint:     oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: p.authStyle(m)},
	}
}

// authStyle says where the secret goes. It is never found out by trying: that
// would send the code twice.
func (p *Provider) authStyle(m *metadata) oauth2.AuthStyle {
	offered := m.TokenAuthMethods // none means client_secret_basic (Discovery §3)
	switch {
	case p.config.ClientSecret == "", p.config.AuthMethod == ClientSecretPost:
		return oauth2.AuthStyleInParams
	case p.config.AuthMethod == ClientSecretBasic:
		return oauth2.AuthStyleInHeader
	case slices.Contains(offered, ClientSecretPost) && !slices.Contains(offered, ClientSecretBasic):
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// redeem exchanges the code (Core §3.1.3.1).
func (p *Provider) redeem(ctx context.Context, m *metadata, pending Pending, code string) (tokens, error) {
	answer, err := p.oauth(m, pending.RedirectURI).Exchange(withClient(ctx, p.client), code, oauth2.VerifierOption(pending.Verifier))
	if err != nil {
		return tokens{}, p.tokenError(err, pending, code)
	}
	if !strings.EqualFold(answer.TokenType, "Bearer") {
		return tokens{}, refused("token endpoint: the token_type is not Bearer (Core §3.1.3.3)")
	}
	idToken, _ := answer.Extra("id_token").(string)
	if idToken == "" {
		return tokens{}, refused("token endpoint: there is no id_token (Core §3.1.3.3)")
	}
	return tokens{IDToken: idToken, AccessToken: answer.AccessToken}, nil
}

// tokenError sorts the error of the token endpoint. Of an answer it quotes the
// members of RFC 6749 §5.2 and not the body, which can be anything.
func (p *Provider) tokenError(err error, pending Pending, code string) error {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		secrets := []string{code, pending.Verifier, pending.Nonce, pending.State, p.config.ClientSecret}
		return refused("token endpoint: the status %d, %q: %q", answer.Response.StatusCode,
			quotable(answer.ErrorCode, secrets...), quotable(answer.ErrorDescription, secrets...))
	}
	if isExchangeError(err) {
		return exchangeError("token endpoint", err)
	}
	return refused("token endpoint: the answer is no token response (Core §3.1.3.3)")
}
