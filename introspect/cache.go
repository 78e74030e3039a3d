package introspect

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Cache is an Introspector that remembers the active tokens that another one
// found. It keeps facts and no verdicts: what a token grants is still compared
// with what a route asks for on every request, and its expiry with the clock.
// Only a token that the other Introspector called active takes a place, so
// garbage costs none.
//
// A place is given to the digest of the exact text of a token. For a JWT of 500
// bytes it costs about 210 bytes of memory: what many tokens share is kept once,
// and the claims not at all, because the caller shows them with every request.
// Tokens in frequent use, one of sixteen places, are kept ready to return.
//
// A hit believes the earlier verification until the token expires. When a token
// is revoked or a key withdrawn, call Forget.
type Cache struct {
	next   Introspector
	shared sharedFacts
	shards [cacheShards]cacheShard

	// forgets counts calls of Forget. What was looked up before one is not
	// remembered after it.
	forgets atomic.Uint64

	believes func() bool // set by While; nil: always
}

const (
	cacheShards = 64 // far more than processors, so that locks are seldom shared

	// maxCachedText bounds what one token takes: tokens with more text of their
	// own are looked up every time.
	maxCachedText = 1 << 10

	// minReady is the number of tokens that every cache keeps ready to return.
	minReady = 1 << 10
)

// cacheKey is the SHA-256 digest of a token.
type cacheKey [sha256.Size]byte

// NewCache returns a Cache of at most entries tokens in front of next, rounded
// up to a multiple of 64.
func NewCache(next Introspector, entries int) *Cache {
	c := &Cache{next: next}
	places := max(1, (entries+cacheShards-1)/cacheShards)
	for i := range c.shards {
		c.shards[i].limit = places
		c.shards[i].readyLimit = min(places, max(minReady/cacheShards, places/16))
		c.shards[i].shared = &c.shared
	}
	return c
}

// While makes the Cache return what it remembers only while believes returns true,
// which is asked for every token and must be quick; while it does not, every token
// is looked up anew. It is called before the first Introspect, if at all.
func (c *Cache) While(believes func() bool) { c.believes = believes }

// Introspect implements Introspector. Its errors are those of the Introspector
// behind it.
func (c *Cache) Introspect(ctx context.Context, token string) (*Token, error) {
	if len(token) > MaxTokenLength {
		return c.next.Introspect(ctx, token)
	}
	key := digest(token)
	shard := &c.shards[key[8]%cacheShards]
	if c.believes == nil || c.believes() {
		if facts := shard.find(&key, token); facts != nil {
			return facts, nil
		}
	}
	forgets := c.forgets.Load()
	facts, err := c.next.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	if time.Now().Before(facts.Expiry) {
		shard.store(&key, token, facts, func() bool { return c.forgets.Load() == forgets })
	}
	return facts, nil
}

// Forget drops the tokens for which gone returns true, and once it returns, none
// of them is found. It visits every token; gone is called under a lock, must be
// quick, must not call the Cache, and must not keep the Token, whose Claims may
// be missing.
func (c *Cache) Forget(gone func(*Token) bool) {
	c.forgets.Add(1)
	for i := range c.shards {
		c.shards[i].forget(gone)
	}
}

// Forgotten counts the calls of Forget that have begun, from one on. Whoever goes on
// relying on what Introspect has said asks again when the count has changed.
func (c *Cache) Forgotten() uint64 { return c.forgets.Load() + 1 }

// Len returns how many tokens are remembered, expired ones included until their
// place is needed.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		n += len(shard.places)
		shard.mu.Unlock()
	}
	return n
}

// Lookups returns how many tokens were found, and how many were not and had to be
// asked for.
func (c *Cache) Lookups() (hits, misses uint64) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		hits, misses = hits+shard.hits, misses+shard.misses
		shard.mu.Unlock()
	}
	return hits, misses
}

// cacheShard holds the tokens whose digests fall to it.
type cacheShard struct {
	mu         sync.Mutex
	limit      int
	readyLimit int
	shared     *sharedFacts

	places  map[uint64]int32 // first eight bytes of the digest -> index of the record
	records []cacheRecord
	free    []int32 // indexes of records that hold nothing

	hand  int     // where the search for a record to give up goes on
	ready []int32 // ring of the records whose token is kept ready
	next  int     // the place in ready to be overwritten

	hits, misses uint64
}

// find returns the facts of a token that is remembered and has not expired.
func (s *cacheShard) find(key *cacheKey, token string) *Token {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.places[key.place()]
	if !found || s.records[i].key != *key {
		s.misses++
		return nil
	}
	record := &s.records[i]
	if now.UnixMicro() >= record.expiry {
		s.misses++
		s.drop(i)
		return nil
	}
	s.hits++
	record.used = true
	if record.token == nil {
		record.token = record.restore(token)
		s.keepReady(i)
	}
	return record.token
}

// keepReady notes that record i has its token ready and takes that of the oldest
// one away when there are too many. An index may stand in the ring twice after
// its record was given up; then a token is taken away early, which costs nothing
// but the making of it.
func (s *cacheShard) keepReady(i int32) {
	if len(s.ready) < s.readyLimit {
		s.ready = append(s.ready, i)
		return
	}
	if oldest := s.ready[s.next]; oldest != i {
		s.records[oldest].token = nil
	}
	s.ready[s.next] = i
	s.next = (s.next + 1) % s.readyLimit
}

// store remembers the facts of a token if they fit and, judged under the lock,
// still hold.
func (s *cacheShard) store(key *cacheKey, token string, facts *Token, holds func() bool) {
	text, fits := ownText(token, facts)
	if !fits {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !holds() {
		return
	}
	if i, taken := s.places[key.place()]; taken {
		s.drop(i) // the same token, stored by another request meanwhile
	}
	i := s.place()
	s.records[i] = newCacheRecord(key, facts, text, s.shared.share(facts))
	if s.places == nil {
		s.places = make(map[uint64]int32)
	}
	s.places[key.place()] = i
}

// place returns the index of a record that holds nothing.
func (s *cacheShard) place() int32 {
	if len(s.free) == 0 && len(s.records) < s.limit {
		if len(s.records) == cap(s.records) {
			grown := make([]cacheRecord, len(s.records), min(max(16, 2*cap(s.records)), s.limit))
			copy(grown, s.records)
			s.records = grown
		}
		s.records = append(s.records, cacheRecord{})
		return int32(len(s.records) - 1)
	}
	if len(s.free) == 0 {
		s.drop(s.leastUsed())
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return i
}

// leastUsed picks a token that nobody showed since the hand last passed, or one
// that has expired. So a flood of tokens that are used once does not drive out
// those in use.
func (s *cacheShard) leastUsed() int32 {
	now := time.Now().UnixMicro()
	for {
		i := s.hand
		s.hand = (s.hand + 1) % len(s.records)
		if record := &s.records[i]; !record.used || now >= record.expiry {
			return int32(i)
		} else {
			record.used = false
		}
	}
}

// drop gives record i up.
func (s *cacheShard) drop(i int32) {
	record := &s.records[i]
	delete(s.places, record.key.place())
	s.shared.release(record.shared)
	*record = cacheRecord{}
	s.free = append(s.free, i)
}

func (s *cacheShard) forget(gone func(*Token) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	scratch := new(Token)
	for _, i := range s.places {
		s.records[i].facts(scratch)
		if gone(scratch) {
			s.drop(i)
		}
	}
}

// digest returns the key of a token. A token of usual length is copied to the
// stack for it, so that a hit allocates nothing.
func digest(token string) cacheKey {
	var usual [1 << 10]byte
	return sha256.Sum256(append(usual[:0], token...))
}

// place is what a shard's map knows a digest by. The record holds all of it.
func (k *cacheKey) place() uint64 { return binary.LittleEndian.Uint64(k[:8]) }
