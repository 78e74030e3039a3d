package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// source is an issuer whose tokens a gate accepts.
type source struct {
	url      string
	audience []string // what its tokens call the resource
	builtIn  bool     // an issuer of this server
	opaque   bool     // its tokens are asked about, because nobody else can read them

	introspector func(context.Context) (introspect.Introspector, error)

	// revoked tells whether a token that was active is revoked now, of an issuer
	// that knows without being asked; nil for the others.
	revoked func(*introspect.Token) bool

	// forgotten is a number, never zero, that changes when a token that was active
	// may be so no more because its key was taken back, or its client; nil where
	// answers are remembered only for some time.
	forgotten func() uint64

	release func() error // gives back what the source shares with others; may be nil
}

// introspect judges a token of this issuer. The error is that of an Introspector.
func (s *source) introspect(ctx context.Context, text string) (*introspect.Token, error) {
	introspector, err := s.introspector(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", introspect.ErrUnavailable, err)
	}
	return introspector.Introspect(ctx, text)
}

// sources are the issuers of a gate.
type sources []*source

// errNobodysToken is the answer to a token that no issuer of a gate could have
// issued.
var errNobodysToken = &introspect.InactiveError{Reason: "the token is of an issuer that this resource does not accept"}

// introspect judges a token. Among several issuers the token is shown to the one
// it names, and an opaque one only to those that issue such: whoever is shown a
// token of another could use it.
func (all sources) introspect(ctx context.Context, text string) (*introspect.Token, *source, error) {
	if len(all) == 1 {
		token, err := all[0].introspect(ctx, text)
		return token, all[0], err
	}
	if introspect.IsJWT(text) {
		url, err := introspect.UnverifiedIssuer(text)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range all {
			if s.url == url {
				token, err := s.introspect(ctx, text)
				return token, s, err
			}
		}
		return nil, nil, errNobodysToken
	}
	return all.introspectOpaque(ctx, text)
}

// introspectOpaque asks in turn those that issue opaque tokens. One that cannot
// tell makes the answer "cannot tell", unless another one knows the token.
func (all sources) introspectOpaque(ctx context.Context, text string) (*introspect.Token, *source, error) {
	var refused error = errNobodysToken
	for _, s := range all {
		if !s.opaque {
			continue
		}
		token, err := s.introspect(ctx, text)
		if err == nil {
			return token, s, nil
		}
		if errors.Is(err, introspect.ErrInactive) && !errors.Is(refused, introspect.ErrInactive) {
			continue
		}
		refused = err
	}
	return nil, nil, refused
}

// release gives back what the sources share with other gates.
func (all sources) release() error {
	var errs []error
	for _, s := range all {
		if s.release != nil {
			errs = append(errs, s.release())
			s.release = nil
		}
	}
	return errors.Join(errs...)
}
