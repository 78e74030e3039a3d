package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// watchers are told what happens in a realm.
type watchers struct {
	trail    *audit.Trail
	observer Observer
}

// tell makes these the realm's watchers. A realm outlives the configurations whose
// watchers it has; the latest are told.
func (r *realm) tell(ctx context.Context, to *watchers) {
	r.watchers.Store(to)
	r.tellKeys(ctx)
}

// timed tells the watchers of a realm how long verifying takes.
type timed struct {
	introspect.Introspector
	realm *realm
}

// Introspect implements introspect.Introspector.
func (t timed) Introspect(ctx context.Context, token string) (*introspect.Token, error) {
	begun := time.Now()
	facts, err := t.Introspector.Introspect(ctx, token)
	if to := t.realm.watchers.Load(); to != nil {
		to.observer.TokenVerified(time.Since(begun), err)
	}
	return facts, err
}

// Vitals are the state of an issuer at a moment.
type Vitals struct {
	Issuer string // its URL

	// CacheHits and CacheMisses count the access tokens that were shown: those
	// whose earlier verification was remembered, and the others.
	CacheHits, CacheMisses uint64

	// SigningSince is since when the present key has been signing; zero if there is
	// no key.
	SigningSince time.Time

	// Trusted are the issuers whose tokens are exchanged, as far as they were ever
	// configured. One that is asked in several ways stands there several times.
	Trusted []TrustedVitals
}

// TrustedVitals are how a trusted issuer has answered.
type TrustedVitals struct {
	Issuer string // its URL
	introspect.Health
}

// Vitals returns those of every issuer.
func (s *State) Vitals() []Vitals {
	var all []Vitals
	for _, r := range s.loadedRealms() {
		v := Vitals{Issuer: r.url, Trusted: r.foreign.vitals()}
		v.CacheHits, v.CacheMisses = r.verified.Lookups()
		if key, ok := signingKey(r.keys); ok {
			v.SigningSince = key.ActiveFrom
		}
		all = append(all, v)
	}
	return all
}

// vitals are those of the issuers that are trusted.
func (s *foreignState) vitals() []TrustedVitals {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []TrustedVitals
	for key, entry := range s.entries {
		if asked, ok := entry.(interface{ Health() introspect.Health }); ok {
			all = append(all, TrustedVitals{key.issuer, asked.Health()})
		}
	}
	return all
}

func signingKey(ring *keys.Ring) (keys.Info, bool) {
	for _, key := range ring.List() {
		if key.Status == "active" {
			return key, true
		}
	}
	return keys.Info{}, false
}

// Health is nil if the storage answers and accepts writes. The error is one line
// for the operator.
func (s *State) Health(ctx context.Context) error {
	if checked, ok := s.Storage.(interface{ Health() error }); ok {
		if err := checked.Health(); err != nil {
			return err
		}
	}
	err := s.Storage.View(ctx, func(tx storage.Tx) error {
		_, err := tx.Get(keys.Kind, "-")
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil // as it should be: no issuer has that name
	}
	return err
}

// Health is nil if the issuer can sign tokens and judge them. The error is one
// line for the operator.
func (i *Issuer) Health() error {
	if _, ok := signingKey(i.realm.keys); !ok {
		return fmt.Errorf("%w of %s", keys.ErrNoKey, i.config.URL)
	}
	if i.state.touch() != nil {
		return errOutOfTouch
	}
	return nil
}
