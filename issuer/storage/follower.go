package storage

import (
	"context"
	"time"
)

// Follower is a [Storage] whose records other processes change as well: the
// other nodes of a cluster. A storage that only one process can open does not
// implement it.
//
// Whoever keeps records in memory (revocations, signing keys) needs it twice
// over: to hear that a kind has changed, and to know until when it can be sure
// of having heard. Of the two the second is what security rests on: a node that
// cannot hear may go on with what it has for as long as its owner accepts, and
// must then refuse what could have been revoked.
type Follower interface {
	Storage

	// Follow tells what other nodes change until ctx ends; then it returns
	// ctx.Err(). After Close it returns ErrUnavailable. Nothing else ends it:
	// when it loses touch it goes on trying to get it back. One Follow may run
	// at a time; a second one is refused.
	Follow(ctx context.Context, watch Watch) error

	// LastInTouch is the latest moment of which this node knows that it was in
	// touch: of every change to a watched kind that any other node's Update
	// had reported as kept before that moment, Changed has been called and has
	// returned nil. It is the zero time before the first such moment, and it
	// never goes back. While all is well it lies less than a second in the
	// past; it has a monotonic clock reading, so that time.Since is right also
	// when the clock is set.
	LastInTouch() time.Time
}

// Watch says what a [Follower] follows. Its functions are called one at a time,
// by the goroutine of Follow, and must not call Follow or Close.
type Watch struct {
	// Kinds are those whose records the caller keeps in memory. Changes to
	// others are not told.
	Kinds []string

	// Changed is called with the kinds of which another node may have changed
	// records since the last call, in the order of Kinds: within a second
	// while in touch. A View begun inside the call sees the changes.
	//
	// It is called with all kinds at first, whenever touch was lost for so long
	// that changes may have been missed, and when an Update of this node had
	// an unknown outcome (see ErrOutcomeUnknown); apart from that, this node's
	// own changes are not told. It may be called without need.
	//
	// When it returns an error the kinds count as untold: LastInTouch stays
	// where it is, and Changed is called again with them soon. Its context is
	// that of Follow.
	Changed func(ctx context.Context, kinds []string) error

	// Touch, unless it is nil, is called with the cause when touch is lost (or
	// Changed has failed) and with nil when it is back, once for each: it is
	// for the log. Touch counts as lost until the first call of Changed has
	// returned nil, but that is not reported unless it fails.
	Touch func(error)
}
