package introspect

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Times of a RemoteKeySet. The answers of the issuer do not change them: a
// header that says "keep for a year" or "ask every second" has no effect.
const (
	keysRefreshAge = time.Hour        // after it, keys are fetched again in the background
	keysMaxAge     = 24 * time.Hour   // after it, keys that could not be refreshed are not trusted
	keysCoolDown   = 30 * time.Second // from the start of a fetch to that of the next
)

// RemoteKeySetConfig says where the keys of an issuer are.
type RemoteKeySetConfig struct {
	// Issuer is the URL of the issuer, whose metadata names the key set.
	Issuer string

	// URL is where the key set is, for an issuer without metadata. When it is
	// set, metadata is not asked for.
	URL string

	// Transport makes the connections; nil means directly, without a proxy.
	Transport http.RoundTripper

	// Withdrawn, if not nil, is called after a fetch that no longer has a key
	// the set had. What was verified with that key should then be forgotten.
	Withdrawn func()
}

// RemoteKeySet is the key set that an issuer publishes (RFC 7517 §5, RFC 8414
// jwks_uri). It is fetched when a key is first asked for, when an unknown key is
// asked for, and once an hour; at most one fetch runs, and at least 30 seconds
// lie between two, whatever is asked for and however they end. A fetch takes at
// most five seconds and 512 KiB, and a request waits for it at most two.
//
// A fetch that fails, or that brings no usable key, changes nothing: the last
// good set goes on for 24 hours.
type RemoteKeySet struct {
	health
	config RemoteKeySetConfig
	client *http.Client
	ctx    context.Context // of fetches; ended by Close
	cancel context.CancelFunc

	mu      sync.Mutex
	keys    map[string]*Key // replaced as a whole
	fetched time.Time       // when keys were fetched
	tried   time.Time       // when the last fetch started
	failure error           // of the last fetch
	running chan struct{}   // closed when the running fetch ends; nil when none runs
}

// NewRemoteKeySet returns the key set of an issuer. Nothing is fetched yet.
// Close ends what runs in the background.
func NewRemoteKeySet(config RemoteKeySetConfig) (*RemoteKeySet, error) {
	location := config.URL
	if location == "" {
		location = config.Issuer
	}
	if err := checkURL(location); err != nil {
		return nil, fmt.Errorf("key set of an issuer: %w", err)
	}
	s := &RemoteKeySet{config: config, client: newClient(config.Transport)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends a running fetch and prevents others. The keys that were fetched
// stay usable until they are too old.
func (s *RemoteKeySet) Close() error {
	s.cancel()
	if s.config.Transport == nil {
		s.client.CloseIdleConnections()
	}
	return nil
}

// Key implements KeySet. ErrUnknownKey is only returned after the issuer has
// been asked, at most 30 seconds ago, or when it was asked then and has answered.
func (s *RemoteKeySet) Key(ctx context.Context, kid string) (*Key, error) {
	key, running := s.lookUp(kid)
	if key != nil {
		return key, nil
	}
	if running != nil {
		if err := s.wait(ctx, running); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return s.answer(kid)
}

// Fresh tells whether what the keys have verified may still be believed, and starts
// a fetch when one is due. Whoever remembers verifications asks it each time:
// otherwise a key that the issuer has withdrawn would be believed until somebody
// shows a token that nobody has shown before. See Cache.While.
func (s *RemoteKeySet) Fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := time.Since(s.fetched)
	if age >= keysRefreshAge {
		s.startFetch()
	}
	return age < keysMaxAge
}

// lookUp returns the key if it is known. It starts a fetch when one is due, and
// returns the channel to wait on when the answer depends on a fetch.
func (s *RemoteKeySet) lookUp(kid string) (*Key, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.trusted(kid)
	if key == nil || time.Since(s.fetched) >= keysRefreshAge {
		s.startFetch()
	}
	return key, s.running
}

// trusted returns the key if it is known and fresh enough. Callers hold mu.
func (s *RemoteKeySet) trusted(kid string) *Key {
	if time.Since(s.fetched) >= keysMaxAge {
		return nil
	}
	return s.keys[kid]
}

// startFetch starts a fetch unless one runs or the last one is too recent.
// Callers hold mu.
func (s *RemoteKeySet) startFetch() {
	if s.running != nil || s.ctx.Err() != nil {
		return
	}
	if !s.tried.IsZero() && time.Since(s.tried) < keysCoolDown {
		return
	}
	s.tried = time.Now()
	s.running = make(chan struct{})
	go s.fetch()
}

// wait returns when the fetch has ended, or with an error when that takes too long.
func (s *RemoteKeySet) wait(ctx context.Context, running <-chan struct{}) error {
	timer := time.NewTimer(requestWait)
	defer timer.Stop()
	select {
	case <-running:
		return nil
	case <-timer.C:
		return errors.New("the issuer is slow to publish its keys")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer tells what is known after the last fetch.
func (s *RemoteKeySet) answer(kid string) (*Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.trusted(kid); key != nil {
		return key, nil
	}
	if s.failure != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failure)
	}
	if time.Since(s.fetched) >= keysMaxAge {
		return nil, fmt.Errorf("%w: the keys of the issuer are too old", ErrUnavailable)
	}
	return nil, ErrUnknownKey
}

// fetch replaces the keys by those that the issuer publishes now.
func (s *RemoteKeySet) fetch() {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	keys, err := s.download(ctx)
	s.note(err)

	s.mu.Lock()
	withdrawn := false
	if s.failure = err; err == nil {
		for kid, old := range s.keys {
			withdrawn = withdrawn || !sameKey(old, keys[kid])
		}
		s.keys, s.fetched = keys, time.Now()
	}
	close(s.running)
	s.running = nil
	s.mu.Unlock()

	if withdrawn && s.config.Withdrawn != nil {
		s.config.Withdrawn()
	}
}

func (s *RemoteKeySet) download(ctx context.Context) (map[string]*Key, error) {
	location := s.config.URL
	if location == "" {
		metadata, err := fetchMetadata(ctx, s.client, s.config.Issuer)
		if err != nil {
			return nil, err
		}
		location = metadata.JWKSURI
	}
	document, err := fetchDocument(ctx, s.client, location)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeySet(document)
	if err != nil {
		return nil, err
	}
	set, err := NewStaticKeySet(keys...)
	if err != nil {
		return nil, err
	}
	return set.keys, nil
}

// sameKey tells whether the issuer still has the key it had.
func sameKey(old, now *Key) bool {
	if now == nil || old.Algorithm != now.Algorithm {
		return false
	}
	public, ok := old.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(now.Public)
}
