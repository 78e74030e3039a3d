package issuer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/seal"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

const (
	// cachedTokens bounds the verified tokens an issuer remembers.
	cachedTokens = 100_000
	// upkeepEvery is how often expired records are swept and keys looked after.
	upkeepEvery = time.Minute
)

// State is what outlives a configuration: the storage and, for every issuer in
// it, the keys, the revocations and the verified tokens. A reload makes new
// Issuers on the same State, so that it forgets nothing.
type State struct {
	Storage storage.Storage

	follower storage.Follower // nil where no other node can be
	opened   time.Time

	mu         sync.Mutex
	realms     map[string]*realm
	encryption keys.Encryption // nil for none
}

// NewState returns the State of a storage, which it does not close.
func NewState(store storage.Storage) *State {
	follower, _ := store.(storage.Follower)
	return &State{Storage: store, follower: follower, opened: time.Now(), realms: make(map[string]*realm)}
}

// Close ends what the State does in the background with other issuers. Issuers
// on it then know what they knew, and ask nobody. The storage stays open.
func (s *State) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.realms {
		r.foreign.close()
	}
}

// realm is the State of one issuer, by its URL.
type realm struct {
	url            string
	configurations configurations
	watchers       atomic.Pointer[watchers]       // of the latest configuration
	clients        atomic.Pointer[clientsInForce] // of the latest configuration
	told           toldKeys

	keys     *keys.Ring
	ledger   *ledger.Ledger
	verified *introspect.Cache
	seal     *seal.Sealer
	users    *users.Users
	people   *signin.People
	devices  device.Pending
	guesses  *limit.Limiter // of user codes

	requests *limit.Limiter // of applications
	foreign  foreignState

	loading sync.Mutex
	loaded  bool
}

// realm returns the issuer's state with the policy in force, loaded from the
// storage the first time.
func (s *State) realm(ctx context.Context, url string, policy keys.Policy) (*realm, error) {
	s.mu.Lock()
	r := s.realms[url]
	if r == nil {
		r = &realm{url: url, told: toldKeys{since: time.Now()}, keys: keys.NewRing(s.Storage, url)}
		r.keys.UseEncryption(s.encryption)
		s.realms[url] = r
	}
	encryption := s.encryption
	s.mu.Unlock()

	r.loading.Lock()
	defer r.loading.Unlock()
	if err := r.keys.Open(ctx, policy); err != nil {
		return nil, err
	}
	if r.loaded {
		return r, nil
	}
	var err error
	if r.ledger, err = ledger.Open(ctx, s.Storage, url, r.keys.MaxLifetime); err != nil {
		return nil, err
	}
	if s.follower != nil {
		r.ledger.Share()
	}
	if r.seal, err = seal.Open(ctx, s.Storage, url, encryption); err != nil {
		return nil, err
	}
	r.users = users.New(s.Storage, url)
	r.people = signin.NewPeople(s.Storage, url, r.users, r.ledger)
	r.guesses = limit.New(signin.FreeGuesses, signin.GuessRefill)
	r.requests = limit.New(freeRequests, requestRefill)
	verifier, err := introspect.NewJWT(introspect.JWTConfig{Issuer: url, Keys: ringKeys{r.keys}, MaxLifetime: maxTokenLifetime})
	if err != nil {
		return nil, err
	}
	r.verified = introspect.NewCache(timed{verifier, r}, cachedTokens)
	r.keys.NotifyWithdrawn(r.forgetVerified)
	r.loaded = true
	return r, nil
}

// forgetVerified drops all verified tokens, because a key that signed some of them
// is believed no more.
func (r *realm) forgetVerified() {
	r.verified.Forget(func(*introspect.Token) bool { return true })
}

// Upkeep sweeps what has expired and looks after the keys, now and then, until
// ctx ends. One goroutine of the State's owner runs it.
func (s *State) Upkeep(ctx context.Context, logger *slog.Logger) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.upkeep(ctx); err != nil && ctx.Err() == nil {
				logger.Error("upkeep of the OAuth storage failed; it will be tried again", "error", err)
			}
		}
	}
}

func (s *State) upkeep(ctx context.Context) error {
	var errs []error
	for _, r := range s.loadedRealms() {
		r.ledger.Prune(time.Now())
		r.devices.Prune(time.Now())
		r.verified.Forget(r.ledger.Covers)
		errs = append(errs, r.keys.Maintain(ctx))
		r.tellKeys(ctx)
	}
	_, err := s.Storage.Sweep(ctx, time.Now())
	return errors.Join(append(errs, err)...)
}

func (s *State) loadedRealms() []*realm {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*realm, 0, len(s.realms))
	for _, r := range s.realms {
		r.loading.Lock()
		if r.loaded {
			all = append(all, r)
		}
		r.loading.Unlock()
	}
	return all
}
