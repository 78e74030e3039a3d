package issuer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// OutOfTouch is for how long a node believes the revocations it knows after it
// last was sure to hear of those of the other nodes. Then it cannot tell whether
// a token was revoked, and says so, until it is in touch again. One node alone,
// on a file, is always in touch.
const OutOfTouch = 10 * time.Second

// errOutOfTouch is why a token cannot be judged.
var errOutOfTouch = errors.New("this node has lost touch with the storage, and cannot know what other nodes have revoked")

// Follow keeps the State true to what other nodes on the same storage change,
// until ctx ends: revocations and keys, within a second. One goroutine of the
// State's owner runs it. It returns at once where no other node can be.
func (s *State) Follow(ctx context.Context, logger *slog.Logger) {
	if s.follower == nil {
		return
	}
	err := s.follower.Follow(ctx, storage.Watch{
		Kinds:   []string{ledger.KindRevoked, keys.Kind},
		Changed: s.reload,
		Touch: func(lost error) {
			if lost != nil {
				logger.Error("lost touch with the other nodes: tokens will be refused with 503 until it is back", "after", OutOfTouch, "error", lost)
				return
			}
			logger.Info("in touch with the other nodes again")
		},
	})
	if err != nil && ctx.Err() == nil {
		logger.Error("what other nodes revoke is not heard any more", "error", err)
	}
}

// reload brings what is kept in memory of some kinds up to date.
func (s *State) reload(ctx context.Context, kinds []string) error {
	var errs []error
	for _, r := range s.loadedRealms() {
		if slices.Contains(kinds, ledger.KindRevoked) {
			errs = append(errs, r.ledger.Reload(ctx))
		}
		if slices.Contains(kinds, keys.Kind) {
			errs = append(errs, r.keys.Reload(ctx))
			r.tellKeys(ctx)
		}
	}
	return errors.Join(errs...)
}

// touch returns an error that is introspect.ErrUnavailable while this node cannot
// know what was revoked.
func (s *State) touch() error {
	if s.follower == nil {
		return nil
	}
	last := s.follower.LastInTouch()
	if last.IsZero() {
		last = s.opened // everything was read then
	}
	if time.Since(last) < OutOfTouch {
		return nil
	}
	return errors.Join(introspect.ErrUnavailable, errOutOfTouch)
}
