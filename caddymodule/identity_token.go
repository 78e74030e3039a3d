package caddymodule

import (
	"crypto/sha256"
	"errors"
	"net/textproto"
	"sync"
	"time"
)

// cachedIdentityTokens bounds the identity tokens that a gate keeps.
const cachedIdentityTokens = 10_000

// identityTokens puts a JWT into a header, by which the API can verify who calls.
// One is signed for each token and serves its requests for some time: signing
// costs as much as verifying.
type identityTokens struct {
	header string
	policy *Policy

	mu   sync.Mutex
	kept map[[sha256.Size]byte]identityToken // by the digest of the token it was made for
}

// identityToken is one that was signed.
type identityToken struct {
	text      string
	stale     time.Time // when to sign another
	forgotten uint64    // what the issuer said when it was signed: its key may be taken back
}

func newIdentityTokens(p *Protect) (*identityTokens, error) {
	if p.IdentityToken == "" {
		return nil, nil
	}
	if len(p.Issuers) == 0 {
		return nil, errors.New("identity_token is signed by an issuer of this server; name one with issuer <url>")
	}
	return &identityTokens{
		header: textproto.CanonicalMIMEHeaderKey(p.IdentityToken), policy: &p.Policy,
		kept: make(map[[sha256.Size]byte]identityToken),
	}, nil
}

// set gives the request its identity token. A request that cannot have one does
// not pass: the API would not know who calls.
func (t *identityTokens) set(v *visit) *refusal {
	issuer, err := t.policy.app.issuer(v.request.Context(), t.policy.Issuers[0])
	if err != nil {
		return unavailable(err)
	}
	key := sha256.Sum256([]byte(v.text))
	now, forgotten := time.Now(), issuer.Forgotten()
	t.mu.Lock()
	kept, ok := t.kept[key]
	t.mu.Unlock()
	if !ok || !now.Before(kept.stale) || kept.forgotten != forgotten {
		text, expiry, err := issuer.MintIdentityToken(v.token, t.policy.Resource)
		if err != nil {
			return unavailable(err)
		}
		kept = identityToken{text, now.Add(expiry.Sub(now) / 2), forgotten}
		t.keep(key, kept)
	}
	v.request.Header[t.header] = []string{kept.text}
	return nil
}

// keep remembers a token. When there is no room, whichever comes first goes:
// another one costs a signature.
func (t *identityTokens) keep(key [sha256.Size]byte, token identityToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= cachedIdentityTokens {
		for other := range t.kept {
			delete(t.kept, other)
			break
		}
	}
	t.kept[key] = token
}
