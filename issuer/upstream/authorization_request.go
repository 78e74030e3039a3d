package upstream

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

// Pending is a sign-in that was begun and not answered. It must be kept,
// encrypted and authenticated, in the browser that began it (RFC 9700 §4.7),
// for a few minutes and for one answer. It may be marshaled as JSON.
type Pending struct {
	// Issuer is who was asked: the answer of another provider is refused (RFC
	// 9700 §4.4.2).
	Issuer string

	// State, Nonce and Verifier are random and new for every request: they bind
	// the answer, the ID token and the code to it. Verifier is a secret.
	State, Nonce, Verifier string

	// RedirectURI is where the answer comes to; the token request repeats it.
	RedirectURI string

	// LoginSince is zero, or the time since which the person must have
	// authenticated at the provider.
	LoginSince time.Time `json:",omitzero"`
}

// Begin returns the URL to send the browser to and what to keep until the
// answer (Core §3.1.2.1).
//
// The redirect URI must be registered at the provider, be https (or http on a
// loopback host), and be of this provider alone. loginHint and uiLocales are
// sent unless empty; they are text for the provider, not checked here. With
// forceLogin the provider is asked to authenticate the person anew, whoever is
// signed in there, and Finish refuses an ID token that does not say that it
// did.
//
// The error is ErrUnavailable or ErrRefused when the provider's metadata cannot
// be had, and another when the redirect URI is none.
func (p *Provider) Begin(ctx context.Context, redirectURI, loginHint, uiLocales string, forceLogin bool) (url string, pending Pending, err error) {
	if err := checkURL(redirectURI); err != nil {
		return "", Pending{}, fmt.Errorf("the redirect URI: %w", err)
	}
	m, err := p.discovery.get(ctx)
	if err != nil {
		return "", Pending{}, err
	}
	pending = Pending{
		Issuer: p.config.Issuer, RedirectURI: redirectURI,
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
	}
	options := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(pending.Verifier),
		oauth2.SetAuthURLParam("nonce", pending.Nonce),
	}
	if loginHint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", loginHint))
	}
	if uiLocales != "" {
		options = append(options, oauth2.SetAuthURLParam("ui_locales", uiLocales))
	}
	if forceLogin {
		pending.LoginSince = time.Now().UTC().Truncate(time.Second)
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return p.oauth(m, redirectURI).AuthCodeURL(pending.State, options...), pending, nil
}
