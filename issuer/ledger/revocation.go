package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// KindRevoked is the storage kind of revocations.
const KindRevoked = "revoked"

// What a revocation ends. The name is part of the record's key.
const (
	revokedToken         = "token"         // one token, by its jti
	revokedAuthorization = "authorization" // all that came of one authorization
	revokedClient        = "client"        // every token of a client
	revokedSubject       = "subject"       // every token that speaks for a person
)

// Revocation ends tokens before they expire. It is a record because tokens are
// not: a JWT that nobody revoked costs the storage nothing.
type Revocation struct {
	what string
	ID   string `json:"-"` // of what it ends; part of the key

	// Before is when it happened. Of a client or a person, tokens issued in or
	// before that second end, so that later ones can be good; of a token or an
	// authorization everything ends, whatever its time says.
	Before time.Time `json:"before"`
	// Expiry is when the last token it ends has expired; the record goes then.
	Expiry time.Time `json:"expiry"`
}

func (r Revocation) key(issuer string) string { return issuer + " " + r.what + " " + r.ID }

// revokedIndex holds the issuer's revocations in memory, so that asking costs a
// map look-up on every request. It outlives reloads and is loaded at start.
type revokedIndex struct {
	count atomic.Int64 // of entries: most of the time there is nothing to look up
	mu    sync.RWMutex
	all   map[revokedID]Revocation
}

type revokedID struct{ what, id string }

// covers tells whether a token was revoked.
func (x *revokedIndex) covers(token *introspect.Token) bool {
	if x.count.Load() == 0 {
		return false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for id := token.ID; id != ""; { // itself, and what it was exchanged for
		if _, ok := x.all[revokedID{revokedToken, id}]; ok {
			return true
		}
		id = id[:max(0, strings.LastIndexByte(id, '.'))]
	}
	if token.AuthorizationID != "" {
		if _, ok := x.all[revokedID{revokedAuthorization, token.AuthorizationID}]; ok {
			return true
		}
	}
	return x.coversOlder(revokedClient, token.ClientID, token.IssuedAt) || x.coversOlder(revokedSubject, token.Subject, token.IssuedAt)
}

// has tells whether a token or an authorization was revoked by its id.
func (x *revokedIndex) has(what, id string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.all[revokedID{what, id}]
	return ok
}

// coversOlder: a client or a person can have new tokens after the revocation.
func (x *revokedIndex) coversOlder(what, id string, issued time.Time) bool {
	r, ok := x.all[revokedID{what, id}]
	return ok && !issued.After(r.Before)
}

func (x *revokedIndex) add(r Revocation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = make(map[revokedID]Revocation)
	}
	x.all[revokedID{r.what, r.ID}] = r
	x.count.Store(int64(len(x.all)))
}

// prune forgets what has expired.
func (x *revokedIndex) prune(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, r := range x.all {
		if !r.Expiry.After(now) {
			delete(x.all, id)
		}
	}
	x.count.Store(int64(len(x.all)))
}

// load reads the issuer's revocations from the storage.
func (x *revokedIndex) load(ctx context.Context, store storage.Storage, issuer string) error {
	return store.View(ctx, func(tx storage.Tx) error {
		prefix := issuer + " "
		return tx.List(KindRevoked, prefix, func(key string, value []byte) error {
			r := Revocation{}
			var ok bool
			if r.what, r.ID, ok = strings.Cut(strings.TrimPrefix(key, prefix), " "); !ok {
				return fmt.Errorf("%w: revocation", storage.ErrDamaged)
			}
			if err := json.Unmarshal(value, &r); err != nil {
				return fmt.Errorf("%w: revocation: %w", storage.ErrDamaged, err)
			}
			x.add(r)
			return nil
		})
	})
}

// revoke writes a revocation in one transaction with whatever else belongs to it,
// and puts both in force: when revoke returns, the next request with the token is
// refused. also, which may be nil, returns further revocations that it wrote.
func (l *Ledger) revoke(ctx context.Context, r Revocation, also func(storage.Tx) ([]Revocation, error)) error {
	var ended []Revocation
	err := l.store.Update(ctx, func(tx storage.Tx) (err error) {
		if ended = nil; also != nil {
			if ended, err = also(tx); err != nil {
				return err
			}
		}
		return l.putRevocation(tx, r)
	})
	if err != nil {
		return err
	}
	// Until now, whoever asked found things as they were before, and may have a token
	// that is younger than what is written. Those who only read that (this server after
	// a restart, and other nodes) must refuse it too.
	if committed := l.now(); r.what == revokedClient && r.Before.Before(committed) {
		r.Before = committed
		err = l.store.Update(ctx, func(tx storage.Tx) error { return l.putRevocation(tx, r) })
	}
	l.Enforce(append(ended, r)...)
	return err
}

// now is the time of a revocation. Another node may have a clock that is ahead, and
// have given a token of a time that is still to come here.
func (l *Ledger) now() time.Time { return record.Now().Add(l.ahead) }

// putRevocation writes a revocation; Enforce must follow the commit.
func (l *Ledger) putRevocation(tx storage.Tx, r Revocation) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(KindRevoked, r.key(l.issuer), value, r.Expiry)
}

// Enforce puts committed revocations in force. Verified tokens that they end are
// dropped from memory later, by upkeep: the ledger is asked on every request.
func (l *Ledger) Enforce(committed ...Revocation) {
	for _, r := range committed {
		l.revoked.add(r)
	}
}

// Covers tells whether a token was revoked. It asks memory, and costs a look-up.
func (l *Ledger) Covers(token *introspect.Token) bool { return l.revoked.covers(token) }

// HasEnded tells whether an authorization was ended, by its id.
func (l *Ledger) HasEnded(authorizationID string) bool {
	return l.revoked.has(revokedAuthorization, authorizationID)
}

// Prune forgets the revocations of tokens that have expired.
func (l *Ledger) Prune(now time.Time) { l.revoked.prune(now) }

// Remembered counts the revocations in force.
func (l *Ledger) Remembered() int { return int(l.revoked.count.Load()) }

// EndToken ends one access token.
func (l *Ledger) EndToken(ctx context.Context, token *introspect.Token) error {
	return l.revoke(ctx, Revocation{what: revokedToken, ID: token.ID, Before: record.Now(), Expiry: token.Expiry.Add(Margin)}, nil)
}

// EndClient ends every token that a client holds and everything that people
// granted to it, in one transaction with also, which tells whether anybody can have
// granted something: to look is to read every authorization there is.
func (l *Ledger) EndClient(ctx context.Context, id string, also func(storage.Tx) (granted bool, err error)) error {
	r := Revocation{what: revokedClient, ID: id, Before: l.now(), Expiry: l.lastExpiry()}
	return l.revoke(ctx, r, func(tx storage.Tx) ([]Revocation, error) {
		granted, err := also(tx)
		if err != nil || !granted {
			return nil, err
		}
		return l.endAuthorizationsOfClient(tx, id)
	})
}

// EndSubject ends every token that speaks for a person and everything they
// granted, and returns the revocations to enforce after the commit. Each
// authorization is revoked by its id as well: a token of it may be signed at this
// very moment, and have a later time than this.
func (l *Ledger) EndSubject(tx storage.Tx, subject string) ([]Revocation, error) {
	all, err := l.Of(tx, subject)
	if err != nil {
		return nil, err
	}
	ended := []Revocation{{what: revokedSubject, ID: subject, Before: record.Now(), Expiry: l.lastExpiry()}}
	err = l.putRevocation(tx, ended[0])
	for _, a := range all {
		r, failed := l.End(tx, a)
		ended, err = append(ended, r), errors.Join(err, failed)
	}
	return ended, err
}

// lastExpiry is when every access token that is out now will have expired.
func (l *Ledger) lastExpiry() time.Time { return l.now().Add(l.lifetime() + Margin) }

// Margin is how long a revocation is kept after the tokens it ends, in case the
// clock is set back by a little.
const Margin = time.Minute
