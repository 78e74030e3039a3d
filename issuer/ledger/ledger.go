package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Ledger is where an issuer writes down what was granted and what was taken back.
// It outlives a configuration.
type Ledger struct {
	store    storage.Storage
	issuer   string
	lifetime func() time.Duration
	ahead    time.Duration // by how much the clock of another node may be ahead
	revoked  revokedIndex
}

// mostAhead is by how much the clocks of nodes on one storage may differ.
const mostAhead = time.Minute

// Open loads what an issuer has revoked. lifetime returns how long an access
// token that is out now can still be good at most. An issuer that cannot read its
// revocations must not start without them.
func Open(ctx context.Context, store storage.Storage, issuer string, lifetime func() time.Duration) (*Ledger, error) {
	l := &Ledger{store: store, issuer: issuer, lifetime: lifetime}
	if err := l.revoked.load(ctx, store, issuer); err != nil {
		return nil, fmt.Errorf("load the revocations of %s: %w", issuer, err)
	}
	return l, nil
}

// Share tells the ledger that other nodes give tokens too, by clocks of their own. It
// is called before anything is ended.
func (l *Ledger) Share() { l.ahead = mostAhead }

// Reload reads the revocations anew, because another node has added some. None
// is taken back.
func (l *Ledger) Reload(ctx context.Context) error {
	if err := l.revoked.load(ctx, l.store, l.issuer); err != nil {
		return fmt.Errorf("load the revocations of %s: %w", l.issuer, err)
	}
	return nil
}
