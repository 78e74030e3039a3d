package issuer

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// flood is something that somebody without credentials can do as often as they
// like.
type flood struct {
	name  string
	times int // how often it is done; each a request from an address of its own
	begin func(*fixture) func(n int) *http.Request
}

// from is the nth address.
func from(r *http.Request, n int) *http.Request {
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:4711", n>>16&255, n>>8&255, n&255)
	return r
}

func formRequest(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

var floods = []flood{
	{"device polls", 50_000, func(f *fixture) func(int) *http.Request {
		d := f.device("client_id=tv&scope=read")
		return func(int) *http.Request {
			return formRequest("/token", "client_id=tv&device_code="+d.DeviceCode+"&grant_type="+url.QueryEscape(oauth.GrantDeviceCode))
		}
	}},
	{"device codes", 50_000, func(*fixture) func(int) *http.Request {
		return func(int) *http.Request { return formRequest("/device-authorization", "client_id=tv&scope=read") }
	}},
	{"failed logins", 1_000, func(f *fixture) func(int) *http.Request {
		f.personWithPassword(fixtureProfile, alicePassword)
		v := f.visitor()
		form := v.authorize(authorization()).form(pages.ActionLogin, "username", "alice", "password", "wrong")
		return func(n int) *http.Request {
			return from(v.request(http.MethodPost, form.action, form.fields.Encode()), n%50)
		}
	}},
	{"failed clients", 50_000, func(*fixture) func(int) *http.Request {
		return func(n int) *http.Request {
			return formRequest("/token", fmt.Sprint("grant_type=client_credentials&client_id=nobody", n, "&client_secret=x"))
		}
	}},
	{"garbage tokens", 50_000, func(*fixture) func(int) *http.Request {
		return func(int) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/userinfo", nil)
			r.Header.Set("Authorization", "Bearer "+record.RandomText(300))
			return r
		}
	}},
	{"unknown kids", 50_000, func(*fixture) func(int) *http.Request {
		return func(n int) *http.Request {
			part := base64.RawURLEncoding.EncodeToString
			header := part(fmt.Appendf(nil, `{"alg":"ES256","typ":"at+jwt","kid":"%d"}`, n))
			payload := part(fmt.Appendf(nil, `{"iss":"%s","sub":"a","jti":"%d"}`, fixtureURL, n))
			r := httptest.NewRequest(http.MethodGet, "/userinfo", nil)
			r.Header.Set("Authorization", "Bearer "+header+"."+payload+"."+part(make([]byte, 64)))
			return r
		}
	}},
	{"unknown refresh tokens", 20_000, func(*fixture) func(int) *http.Request {
		return func(int) *http.Request {
			return formRequest("/token", "client_id=native&grant_type=refresh_token&refresh_token="+record.NewHandle())
		}
	}},
	{"abandoned authorizations", 20_000, func(f *fixture) func(int) *http.Request {
		return func(n int) *http.Request {
			return from(f.visitor().request(http.MethodGet, "/authorize?"+authorization("state", fmt.Sprint(n)).Encode(), ""), n)
		}
	}},
}

// TestFloods: what anybody can do costs no write, and leaves nothing behind that
// grows with how often it is done; and who has business is answered meanwhile.
func TestFloods(t *testing.T) {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return // ./xcaddy.sh test --all
	}
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			f := newFixture(t, withPeople, withDevices, func(c *Config) { c.Logger = slog.New(slog.DiscardHandler) })
			request := flood.begin(f)
			send := func(n int) {
				w := httptest.NewRecorder()
				f.ServeHTTP(w, request(n))
				if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
					t.Errorf("request %d: status %d", n, w.Code)
				}
			}
			for n := range 1000 {
				send(n) // buffers, pools and caches have the size they will have
			}
			before, commits := heapInUse(), f.countCommitted()
			for n := range flood.times {
				send(1000 + n)
			}
			if n := commits(); n != 0 {
				t.Errorf("%d records written for %d requests", n, flood.times)
			}
			if grown := heapInUse() - before; grown > 32<<20 {
				t.Errorf("%d requests leave %d bytes behind", flood.times, grown)
			}
			checkAnsweredMeanwhile(t, f, send)
		})
	}
}

// checkAnsweredMeanwhile: the slowest of a hundred answers takes at most twice as
// long beside five hundred requests of a flood a second as it does alone.
func checkAnsweredMeanwhile(t *testing.T, f *fixture, send func(int)) {
	t.Helper()
	const patience = 3 // what the machine does besides is not there every time
	for range patience {
		calm := slowAnswer(f)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-pace.C:
					send(n)
				}
			}
		}()
		flooded := slowAnswer(f)
		close(stop)
		<-stopped
		t.Logf("p99 %v calm, %v flooded", calm, flooded)
		if flooded < 2*calm {
			return
		}
	}
	t.Error("a flood holds up who has business: their p99 has doubled")
}

// slowAnswer is the 99th percentile of three thousand good requests.
func slowAnswer(f *fixture) time.Duration {
	var took []time.Duration
	for range 3000 {
		begun := time.Now()
		f.issue(asSvc, "")
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// countCommitted returns how many records have been written or deleted since. A
// transaction that does neither is not committed.
func (f *fixture) countCommitted() func() int64 {
	counting := &changeCounter{Storage: f.store.Storage}
	f.store.Storage = counting
	return counting.changes.Load
}

// changeCounter counts what is written and deleted.
type changeCounter struct {
	storage.Storage
	changes atomic.Int64
}

func (s *changeCounter) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.Update(ctx, func(tx storage.Tx) error { return fn(changeCountingTx{tx, s}) })
}

type changeCountingTx struct {
	storage.Tx
	counter *changeCounter
}

func (tx changeCountingTx) Put(kind, key string, value []byte, expiry time.Time) error {
	tx.counter.changes.Add(1)
	return tx.Tx.Put(kind, key, value, expiry)
}

func (tx changeCountingTx) Delete(kind, key string) error {
	tx.counter.changes.Add(1)
	return tx.Tx.Delete(kind, key)
}

// TestSlowBodies: five hundred clients that send the first half of a form hold up
// nobody, and are told to go.
func TestSlowBodies(t *testing.T) {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return // ./xcaddy.sh test --all
	}
	f := newFixture(t, func(c *Config) { c.Logger = slog.New(slog.DiscardHandler) })
	server := httptest.NewServer(f)
	defer server.Close()
	before := heapInUse()
	const clients = 500
	connections := make([]net.Conn, clients)
	for n := range connections {
		connection, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		must(t, err)
		defer connection.Close()
		_, err = connection.Write([]byte("POST /token HTTP/1.1\r\nHost: auth.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\ngrant_type="))
		must(t, err)
		connections[n] = connection
	}
	if grown := heapInUse() - before; grown > 64<<20 {
		t.Errorf("%d slow clients take %d bytes", clients, grown)
	}
	begun := time.Now()
	f.issue(asSvc, "")
	if took := time.Since(begun); took > time.Second {
		t.Errorf("a good request beside them took %v", took)
	}
	var all sync.WaitGroup
	for _, connection := range connections {
		all.Go(func() {
			_ = connection.SetReadDeadline(time.Now().Add(time.Minute))
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Errorf("no answer: %v", err)
				return
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", answer.StatusCode)
			}
		})
	}
	all.Wait()
}
