package issuer

import (
	"io"
	"sync"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// foreignState is what is known of trusted issuers: their keys, and what their
// endpoints said about tokens. It is kept by what defines it, so that a reload
// forgets nothing that still holds, and asks anew where something was changed.
type foreignState struct {
	mu      sync.Mutex
	entries map[foreignKey]io.Closer
}

// foreignKey is what defines an entry.
type foreignKey struct {
	kind, issuer, place, clientID, clientSecret string
}

// keySet returns the keys of a trusted issuer. Nothing is fetched yet.
func (s *foreignState) keySet(t *TrustedIssuer) (*introspect.RemoteKeySet, error) {
	key := foreignKey{kind: "keys", issuer: t.Issuer, place: t.KeySetURL}
	return stateOf(s, key, func() (*introspect.RemoteKeySet, error) {
		return introspect.NewRemoteKeySet(t.keySetConfig())
	})
}

// opaque returns what judges opaque tokens of a trusted issuer, nil if nothing
// does. Nothing is asked yet.
func (s *foreignState) opaque(t *TrustedIssuer) (introspect.Introspector, error) {
	switch {
	case t.introspects():
		key := foreignKey{"introspection", t.Issuer, t.IntrospectionEndpoint, t.ClientID, t.ClientSecret}
		return stateOf(s, key, func() (*introspect.Remote, error) {
			return introspect.NewRemote(t.introspectionConfig())
		})
	case t.Userinfo:
		key := foreignKey{kind: "userinfo", issuer: t.Issuer}
		return stateOf(s, key, func() (*introspect.Userinfo, error) {
			return introspect.NewUserinfo(introspect.UserinfoConfig{Issuer: t.Issuer})
		})
	}
	return nil, nil
}

// stateOf returns the entry of a key, made anew if there is none. The kind in
// the key decides its type.
func stateOf[T io.Closer](s *foreignState, key foreignKey, open func() (T, error)) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.entries[key].(T); ok {
		return known, nil
	}
	opened, err := open()
	if err != nil {
		return opened, err
	}
	if s.entries == nil {
		s.entries = make(map[foreignKey]io.Closer)
	}
	s.entries[key] = opened
	return opened, nil
}

// close ends what runs in the background.
func (s *foreignState) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entry := range s.entries {
		_ = entry.Close() // it only ends goroutines
	}
}
