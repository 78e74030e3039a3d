package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

const (
	// liveEvery is how often the tokens of requests that go on are looked at.
	liveEvery = 250 * time.Millisecond

	// askAgainAfter is how often the issuer of an opaque token is asked about it
	// while a request goes on, and an issuer that could not tell. Answers about
	// opaque tokens are believed for some time anyway.
	askAgainAfter = 10 * time.Second

	liveShards = 16
)

// liveRequests are the requests that have passed a gate and go on. One goroutine
// looks at all of them, four times a second, and cuts off those whose token is no
// longer good: a websocket may live for days, and its token was looked at when
// it began.
//
// It is shared by all gates of the process, because requests outlive the
// configuration that let them pass, and watches on when the last gate is gone,
// until the last request is.
type liveRequests struct {
	next     atomic.Uint32 // shard of the next request
	shards   [liveShards]liveShard
	watching atomic.Bool
	gone     atomic.Bool // the last gate
}

// liveShard is a ring of requests.
type liveShard struct {
	mu    sync.Mutex
	first *visit
}

// liveRequest is what a visit has to be in the ring.
type liveRequest struct {
	shard          *liveShard
	previous, next *visit

	w     http.ResponseWriter
	until time.Time // zero: no end is known
	asked time.Time // when the issuer of the token was last asked; zero where it need not be asked again
	cut   bool

	// forgotten is what the source said of itself when the token was last judged;
	// zero at first, since a key may be taken back while a request is let pass.
	forgotten uint64
}

// liveKey is the one key of the pool that holds the one liveRequests.
const liveKey = "live"

var livePool = caddy.NewUsagePool()

// takeLiveRequests returns the process's live requests. Each call wants one of
// giveLiveRequestsBack.
func takeLiveRequests() *liveRequests {
	value, _, err := livePool.LoadOrNew(liveKey, func() (caddy.Destructor, error) {
		return new(liveRequests), nil
	})
	if err != nil { // the constructor has none
		panic(err)
	}
	return value.(*liveRequests)
}

func giveLiveRequestsBack() error {
	_, err := livePool.Delete(liveKey)
	return err
}

// Destruct lets the watch end with the last request.
func (l *liveRequests) Destruct() error {
	l.gone.Store(true)
	return nil
}

// add notes a request that passes now.
func (l *liveRequests) add(v *visit, w http.ResponseWriter, grace caddy.Duration) {
	shard := &l.shards[l.next.Add(1)%liveShards]
	v.live = liveRequest{shard: shard, w: w}
	if !v.token.Expiry.IsZero() {
		v.live.until = v.token.Expiry.Add(time.Duration(grace))
	}
	if v.source.opaque {
		v.live.asked = time.Now()
	}
	shard.add(v)
	l.beWatched()
}

func (s *liveShard) add(v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.live.next = s.first; s.first != nil {
		s.first.live.previous = v
	}
	s.first = v
}

// beWatched begins the watch, unless it goes on.
func (l *liveRequests) beWatched() {
	if !l.watching.Load() && l.watching.CompareAndSwap(false, true) {
		go l.watch()
	}
}

// remove forgets a request that has ended. When it returns, nobody will touch the
// visit or its ResponseWriter.
func (l *liveRequests) remove(v *visit) {
	shard := v.live.shard
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if v.live.previous != nil {
		v.live.previous.live.next = v.live.next
	} else {
		shard.first = v.live.next
	}
	if v.live.next != nil {
		v.live.next.live.previous = v.live.previous
	}
	v.live.shard = nil
}

func (l *liveRequests) watch() {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for now := range tick.C {
		for n := range l.shards {
			l.shards[n].look(now)
		}
		if l.gone.Load() && l.empty() {
			break
		}
	}
	l.watching.Store(false)
	if !l.empty() { // one that came meanwhile
		l.beWatched()
	}
}

// empty tells whether no request goes on.
func (l *liveRequests) empty() bool {
	for n := range l.shards {
		if !l.shards[n].empty() {
			return false
		}
	}
	return true
}

func (s *liveShard) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first == nil
}

// look cuts off the requests of the shard whose token is no longer good. It does
// so again until they have ended: what takes a connection over for a websocket
// puts its deadlines back, and so does an idle timeout of the server.
func (s *liveShard) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := s.first; v != nil; v = v.live.next {
		switch live := &v.live; {
		case live.cut, !live.until.IsZero() && !now.Before(live.until), v.source.revoked != nil && v.source.revoked(v.token):
			live.end()
		case live.isDue(now, v.source):
			go s.askAgain(v, v.source, v.text)
		}
	}
}

// isDue tells whether the issuer is to be asked again about the token: the key that
// signed it may have been taken back, or it is time to.
func (r *liveRequest) isDue(now time.Time, from *source) bool {
	if from.forgotten != nil {
		if forgotten := from.forgotten(); forgotten != r.forgotten {
			r.forgotten = forgotten
			return true
		}
	}
	if r.asked.IsZero() || now.Sub(r.asked) < askAgainAfter {
		return false
	}
	r.asked = now
	return true
}

// askAgain asks the issuer of a token whether it is still active. Whoever cannot
// tell does not end a request that was let pass, and is asked once more.
func (s *liveShard) askAgain(v *visit, from *source, text string) {
	_, err := from.introspect(context.Background(), text)
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := s.first; other != nil; other = other.live.next {
		if other != v || other.text != text { // another request in the same place
			continue
		}
		switch live := &other.live; {
		case errors.Is(err, introspect.ErrInactive):
			live.end()
		case err != nil:
			live.asked = time.Now()
		case !from.opaque:
			live.asked = time.Time{}
		}
		return
	}
}

// past is a deadline that nothing meets.
var past = time.Unix(1, 0)

// end makes every read and write of the connection, or of the stream of HTTP/2
// and 3, fail from now on. That ends a response in the middle of its body and a
// websocket alike, and the request's context with it, which is how the proxy
// hears of it. Nothing else about a response in flight may be touched from here.
func (r *liveRequest) end() {
	r.cut = true
	control := http.NewResponseController(ofConnection(r.w))
	_ = control.SetWriteDeadline(past) // what cannot be cut off ends by itself
	_ = control.SetReadDeadline(past)
}

// ofConnection is the writer beneath all that handlers have put around it: that of
// the connection or the stream, whose deadlines anybody may set at any time. Those
// around it, such as the one by which Caddy keeps its idle timeouts, are only for
// the goroutine that writes.
func ofConnection(w http.ResponseWriter) http.ResponseWriter {
	for {
		around, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = around.Unwrap()
	}
}
