package upstream

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/url"
)

// Finish takes the answer that the browser brought to the redirect URI and
// returns who signed in. pending is what Begin returned and this browser kept;
// it must be forgotten now, whatever Finish returns. answer is the query of the
// request (or its form, if the provider posts).
//
// The error is ErrDenied, ErrMismatch, ErrUnavailable, ErrNotAllowed or
// ErrRefused.
func (p *Provider) Finish(ctx context.Context, pending Pending, answer url.Values) (*Identity, error) {
	if err := p.checkBinding(pending, answer); err != nil {
		return nil, err
	}
	m, err := p.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(m, pending, answer); err != nil {
		return nil, err
	}
	tokens, err := p.redeem(ctx, m, pending, answer.Get("code"))
	if err != nil {
		return nil, err
	}
	stated, err := p.verify(ctx, m, pending, tokens)
	if err != nil {
		return nil, err
	}
	var added claims
	if m.UserInfoEndpoint != "" && p.lacks(stated) {
		if added, err = p.userInfo(ctx, m, tokens.AccessToken, stated.text("sub")); err != nil {
			return nil, err
		}
	}
	identity, err := p.identify(stated, added)
	if err != nil {
		return nil, err
	}
	if err := p.admit(identity); err != nil {
		return nil, err
	}
	return identity, nil
}

// checkBinding refuses an answer to another request or of another provider. It
// asks nobody.
func (p *Provider) checkBinding(pending Pending, answer url.Values) error {
	// An empty pending must match nothing: two missing values are not equal.
	if pending.State == "" || pending.Nonce == "" || pending.Verifier == "" {
		return mismatch("nothing was begun in this browser")
	}
	if pending.Issuer != p.config.Issuer {
		return mismatch("the sign-in was begun at another provider (RFC 9700 §4.4.2)")
	}
	for _, name := range []string{"state", "iss", "code", "error"} {
		if len(answer[name]) > 1 {
			return mismatch(name + " occurs more than once (RFC 6749 §3.1)")
		}
	}
	if !sameSecret(answer.Get("state"), pending.State) {
		return mismatch("state (RFC 6749 §10.12)")
	}
	if answer.Has("iss") && !sameSecret(answer.Get("iss"), p.config.Issuer) {
		return mismatch("iss (RFC 9207 §2.4)")
	}
	return nil
}

// sameSecret compares in a time that does not depend on where they differ.
func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// checkAnswer refuses an answer that does not name its issuer although it
// would, one that is a refusal, and one without a code.
func checkAnswer(m *metadata, pending Pending, answer url.Values) error {
	if m.AnswersName && !answer.Has("iss") {
		return mismatch("iss is missing, which the provider sends (RFC 9207 §2.4)")
	}
	if answer.Has("error") {
		return answerError(pending, answer)
	}
	if answer.Get("code") == "" {
		return refused("the answer has neither a code nor an error (RFC 6749 §4.1.2)")
	}
	return nil
}

// answerError is the error that an error response stands for (RFC 6749
// §4.1.2.1, Core §3.1.2.6).
func answerError(pending Pending, answer url.Values) error {
	kind := ErrRefused
	switch answer.Get("error") {
	case "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required",
		"unmet_authentication_requirements":
		kind = ErrDenied
	case "server_error", "temporarily_unavailable":
		kind = ErrUnavailable
	}
	secrets := []string{pending.State, pending.Nonce, pending.Verifier, answer.Get("code")}
	return fmt.Errorf("%w: the authorization endpoint answers %q: %q", kind,
		quotable(answer.Get("error"), secrets...), quotable(answer.Get("error_description"), secrets...))
}
