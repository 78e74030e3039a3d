package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// kindRevoked is the storage kind of revocations.
const kindRevoked = "revoked"

// What a revocation ends. The name is part of the record's key.
const (
	revokedToken         = "token"         // one token, by its jti
	revokedAuthorization = "authorization" // all that came of one authorization
	revokedClient        = "client"        // every token of a client
	revokedSubject       = "subject"       // every token that speaks for a person
)

// revocation ends tokens before they expire. It is a record because tokens are
// not: a JWT that nobody revoked costs the storage nothing.
type revocation struct {
	what, id string

	// Before is when it happened. Of a client or a person, tokens issued in or
	// before that second end, so that later ones can be good; of a token or an
	// authorization everything ends, whatever its time says.
	Before time.Time `json:"before"`
	// Expiry is when the last token it ends has expired; the record goes then.
	Expiry time.Time `json:"expiry"`
}

func (r revocation) key(issuer string) string { return issuer + " " + r.what + " " + r.id }

// revokedIndex holds the issuer's revocations in memory, so that asking costs a
// map look-up on every request. It outlives reloads and is loaded at start.
type revokedIndex struct {
	count atomic.Int64 // of entries: most of the time there is nothing to look up
	mu    sync.RWMutex
	all   map[revokedID]revocation
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

func (x *revokedIndex) add(r revocation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = make(map[revokedID]revocation)
	}
	x.all[revokedID{r.what, r.id}] = r
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
		return tx.List(kindRevoked, prefix, func(key string, value []byte) error {
			r := revocation{}
			var ok bool
			if r.what, r.id, ok = strings.Cut(strings.TrimPrefix(key, prefix), " "); !ok {
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

// revoke writes a revocation, and whatever else belongs to it, in one
// transaction, and puts it in force: when revoke returns, the next request with
// the token is refused. also may be nil.
func (i *Issuer) revoke(ctx context.Context, r revocation, also func(storage.Tx) error) error {
	err := i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return putRevocation(tx, i.config.URL, r)
	})
	if err != nil {
		return err
	}
	// Until now, whoever asked found things as they were before.
	if committed := record.Now(); r.Before.Before(committed) {
		r.Before = committed
	}
	i.enforce(r)
	return nil
}

// putRevocation writes a revocation; enforce must follow the commit.
func putRevocation(tx storage.Tx, issuer string, r revocation) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(kindRevoked, r.key(issuer), value, r.Expiry)
}

// enforce puts committed revocations in force. Verified tokens that they end are
// dropped from memory later, by upkeep: the index is asked on every request.
func (i *Issuer) enforce(committed ...revocation) {
	for _, r := range committed {
		i.realm.revoked.add(r)
	}
}

// revokeToken ends one token.
func revokeToken(token *introspect.Token) revocation {
	return revocation{what: revokedToken, id: token.ID, Before: record.Now(), Expiry: token.Expiry.Add(margin)}
}

// revokeClient ends the tokens a client holds.
func (i *Issuer) revokeClient(id string) revocation {
	return revocation{what: revokedClient, id: id, Before: record.Now(), Expiry: i.lastExpiry()}
}

// lastExpiry is when every access token that is out now will have expired.
func (i *Issuer) lastExpiry() time.Time { return record.Now().Add(i.realm.keys.MaxLifetime() + margin) }

// margin is how long a revocation is kept after the tokens it ends, in case the
// clock is set back by a little.
const margin = time.Minute

// RevokeToken ends an access token of this issuer. It returns an error that is
// introspect.ErrInactive if it is not one that is in force.
func (i *Issuer) RevokeToken(ctx context.Context, token string) (*introspect.Token, error) {
	facts, err := i.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	return facts, i.revoke(ctx, revokeToken(facts), nil)
}
