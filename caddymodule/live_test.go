package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
)

// liveCaddyfile is a gate before an API whose responses go on, and before a gRPC
// server.
const liveCaddyfile = `{
	servers {
		protocols h1 h2c
		$SERVER
	}
	oauth {
		issuer $GATE {
			scope api:read
			client app {
				secret_hash $HASH
				grant client_credentials
				scope api:read
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		$OPTION
	}
	oauth_protect /grpc.health.v1.Health/* {
		resource $GATE/api
		$OPTION
	}
	reverse_proxy /api/* $BACKEND {
		$FLUSH
		stream_close_delay 1h
	}
	reverse_proxy /grpc.health.v1.Health/* h2c://$GRPC
}
`

// streamer is an API whose responses go on for ever: events, a download without a
// pause, and websockets that say something four times a second.
func streamer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/ws":
		websocket.Handler(func(conn *websocket.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for {
				if err := websocket.Message.Send(conn, "hello"); err != nil {
					return
				}
				pause(conn.Request().Context())
			}
		}).ServeHTTP(w, r)
	case "/api/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "data: hello\n\n"); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			pause(r.Context())
		}
	case "/api/silent":
		_, _ = io.WriteString(w, "the only line\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/api/download":
		part := make([]byte, 32<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(part); err != nil {
				return
			}
			pause(r.Context())
		}
	}
}

// pause is what a stream waits between two parts.
func pause(ctx context.Context) {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// liveSite is a running liveCaddyfile.
type liveSite struct {
	*server
	text string
}

func startLive(t *testing.T, option, serverOption, flush string) *liveSite {
	t.Helper()
	api := startAPI(t, streamer)
	rpc := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = rpc.Serve(listener) }()
	t.Cleanup(rpc.Stop)
	text := strings.NewReplacer("$OPTION", option, "$SERVER", serverOption, "$FLUSH", flush, "$GRPC", listener.Addr().String()).Replace(liveCaddyfile)
	return &liveSite{start(t, text, api), text}
}

// stream is a response that goes on. open returns when its first part has come,
// and a function that waits for its end.
type stream struct {
	name string
	open func(s *liveSite, token string) (end func() error, err error)
}

var streams = []stream{
	{"websocket", func(s *liveSite, token string) (func() error, error) {
		config, err := websocket.NewConfig(strings.Replace(s.url, "http", "ws", 1)+"/api/ws", "http://localhost")
		if err != nil {
			return nil, err
		}
		config.Header.Set("Authorization", "Bearer "+token)
		conn, err := websocket.DialConfig(config)
		if err != nil {
			return nil, err
		}
		s.t.Cleanup(func() { conn.Close() })
		return drained(conn)
	}},
	{"server-sent events over HTTP/1.1", overHTTP("/api/events", new(http.Transport))},
	{"server-sent events over HTTP/2", overHTTP("/api/events", h2c())},
	{"a download over HTTP/1.1", overHTTP("/api/download", new(http.Transport))},
	{"a download over HTTP/2", overHTTP("/api/download", h2c())},
	{"a response without a word over HTTP/1.1", overHTTP("/api/silent", new(http.Transport))},
	{"a response without a word over HTTP/2", overHTTP("/api/silent", h2c())},
	{"gRPC", func(s *liveSite, token string) (func() error, error) {
		conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
		if err != nil {
			return nil, err
		}
		s.t.Cleanup(func() { conn.Close() })
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token))
		s.t.Cleanup(cancel)
		watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			return nil, err
		}
		if _, err := watch.Recv(); err != nil {
			return nil, err
		}
		return func() error {
			for {
				if _, err := watch.Recv(); err != nil {
					return err
				}
			}
		}, nil
	}},
}

// h2c speaks HTTP/2 without TLS.
func h2c() http.RoundTripper {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: protocols}
}

func overHTTP(path string, transport http.RoundTripper) func(*liveSite, string) (func() error, error) {
	return func(s *liveSite, token string) (func() error, error) {
		ctx, cancel := context.WithCancel(context.Background())
		s.t.Cleanup(cancel)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := transport.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		s.t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %d", response.StatusCode)
		}
		return drained(response.Body)
	}
}

// drained reads the first part, and the rest when end is called.
func drained(body io.Reader) (end func() error, err error) {
	if _, err := body.Read(make([]byte, 8)); err != nil {
		return nil, err
	}
	return func() error {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		return io.EOF
	}, nil
}

// ended is how long after the beginning of a test each stream has ended.
type ended struct {
	mu    sync.Mutex
	after map[string]time.Duration
}

func (e *ended) of(name string) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	after, ok := e.after[name]
	return after, ok
}

func (e *ended) all() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.after)
}

// openAll opens one stream of each kind with the token that it is given, all at
// once, and notes when each ends.
func (s *liveSite) openAll(t *testing.T, begin time.Time, token func(kind string) string) *ended {
	t.Helper()
	e := &ended{after: make(map[string]time.Duration)}
	var opening sync.WaitGroup
	for _, kind := range streams {
		text := token(kind.name)
		opening.Go(func() {
			end, err := kind.open(s, text)
			if err != nil {
				t.Errorf("%s does not open: %v", kind.name, err)
				return
			}
			go func() {
				_ = end()
				e.mu.Lock()
				defer e.mu.Unlock()
				e.after[kind.name] = time.Since(begin)
			}()
		})
	}
	opening.Wait()
	return e
}

// live counts the requests that the gates watch.
func live() (n int) {
	l := takeLiveRequests()
	defer func() { _ = giveLiveRequestsBack() }()
	for i := range l.shards {
		l.shards[i].mu.Lock()
		for v := l.shards[i].first; v != nil; v = v.live.next {
			n++
		}
		l.shards[i].mu.Unlock()
	}
	return n
}

// TestLiveStreams: what a token opened ends with it: when it expires, and within a
// second when it is revoked, before a reload and after it. Nothing else ends it.
func TestLiveStreams(t *testing.T) {
	for _, test := range []struct {
		name, option, server, flush string
		reload                      bool
	}{
		{"as it is, and after a reload", "", "", "", true},
		{"with cors, flushed at once, with timeouts of the server", "cors *", "timeouts {\n\t\t\twrite_idle 30s 1\n\t\t\tread_body 30s\n\t\t}", "flush_interval -1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startLive(t, test.option, test.server, test.flush)
			begin := time.Now()
			expiry := begin.Truncate(time.Second).Add(3 * time.Second)
			forged := func(exp time.Time) func(string) string {
				return func(kind string) string {
					return s.forge("at+jwt", map[string]any{"exp": exp.Unix(), "jti": kind + exp.String() + t.Name()})
				}
			}
			expiring := s.openAll(t, begin, forged(expiry))
			lasting := s.openAll(t, begin, forged(begin.Add(time.Hour)))
			revoked := map[string]string{}
			revoking := s.openAll(t, begin, func(kind string) string {
				revoked[kind] = forged(begin.Add(30 * time.Minute))(kind)
				return revoked[kind]
			})
			if t.Failed() {
				return
			}
			if n := live(); n != 3*len(streams) {
				t.Errorf("%d requests are watched, want %d", n, 3*len(streams))
			}
			if test.reload {
				if err := s.load(s.text); err != nil {
					t.Fatal(err)
				}
			}
			for _, token := range revoked {
				s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(t, 200)
			}
			at := time.Since(begin)
			eventually(t, "the revoked ones have ended", func() bool { return revoking.all() == len(streams) })
			for _, kind := range streams {
				if after, _ := revoking.of(kind.name); after > at+time.Second {
					t.Errorf("%s: ends %v after the revocation, want a second at most", kind.name, after-at)
				}
			}
			eventually(t, "the expired ones have ended", func() bool { return expiring.all() == len(streams) })
			for _, kind := range streams {
				after, _ := expiring.of(kind.name)
				if over := begin.Add(after).Sub(expiry); over < 0 || over > time.Second {
					t.Errorf("%s: ends %v after its token, want 0 to a second", kind.name, over)
				}
			}
			for _, kind := range streams {
				if after, ended := lasting.of(kind.name); ended {
					t.Errorf("%s: ends after %v, and its token is good", kind.name, after)
				}
			}
			eventually(t, "what has ended is no longer watched", func() bool { return live() == len(streams) })
		})
	}
	eventually(t, "nothing is watched when nothing goes on", func() bool { return live() == 0 })
}

// TestLiveGrace: a response may go on for the time of stream_grace after its token
// has expired, and revocation has no grace.
func TestLiveGrace(t *testing.T) {
	s := startLive(t, "stream_grace 1s", "", "")
	begin := time.Now()
	expiry := begin.Truncate(time.Second).Add(2 * time.Second)
	expiring := s.openAll(t, begin, func(kind string) string {
		return s.forge("at+jwt", map[string]any{"exp": expiry.Unix(), "jti": "grace" + kind})
	})
	revoked := s.forge("at+jwt", map[string]any{"jti": "no grace"})
	revoking := s.openAll(t, begin, func(string) string { return revoked })
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": revoked}).want(t, 200)
	at := time.Since(begin)
	eventually(t, "the revoked ones have ended", func() bool { return revoking.all() == len(streams) })
	if over := time.Since(begin) - at; over > time.Second {
		t.Errorf("revocation takes %v, want a second at most", over)
	}
	eventually(t, "the expired ones have ended", func() bool { return expiring.all() == len(streams) })
	for _, kind := range streams {
		after, _ := expiring.of(kind.name)
		if over := begin.Add(after).Sub(expiry); over < time.Second || over > 2*time.Second {
			t.Errorf("%s: ends %v after its token, want 1 s and up to a second more", kind.name, over)
		}
	}
}

// TestLiveTakeover: a token that expires while the API thinks about the handshake
// opens no websocket that nobody ends: what takes the connection over puts its
// deadlines back.
func TestLiveTakeover(t *testing.T) {
	var once sync.Once
	asked, answer := make(chan struct{}), make(chan struct{})
	api := startAPI(t, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-answer
		streamer(w, r)
	})
	s := &liveSite{start(t, gateWith(), api), ""}
	token := s.forge("at+jwt", map[string]any{"jti": "taken over"})
	done := make(chan error, 1)
	go func() {
		end, err := streams[0].open(s, token)
		if err == nil {
			err = end()
		}
		done <- err
	}()
	<-asked
	s.adminCall("POST", "/oauth/tokens/revoke", map[string]string{"token": token}).want(t, 200)
	eventually(t, "the request has been cut off", func() bool {
		l := takeLiveRequests()
		defer func() { _ = giveLiveRequestsBack() }()
		for i := range l.shards {
			l.shards[i].mu.Lock()
			for v := l.shards[i].first; v != nil; v = v.live.next {
				if v.live.cut {
					defer l.shards[i].mu.Unlock()
					return true
				}
			}
			l.shards[i].mu.Unlock()
		}
		return live() == 0
	})
	close(answer)
	eventually(t, "the websocket has ended", func() bool {
		select {
		case err := <-done:
			return err != nil
		default:
			return false
		}
	})
}

// TestLiveWithoutGates: a stream ends with its token even if the configuration
// that is in force by then has no gate; and then nobody watches any more.
func TestLiveWithoutGates(t *testing.T) {
	s := startLive(t, "", "", "")
	before := runtime.NumGoroutine()
	begin := time.Now()
	expiry := begin.Truncate(time.Second).Add(2 * time.Second)
	expiring := s.openAll(t, begin, func(kind string) string {
		return s.forge("at+jwt", map[string]any{"exp": expiry.Unix(), "jti": "no gate" + kind})
	})
	l := takeLiveRequests()
	if err := giveLiveRequestsBack(); err != nil {
		t.Fatal(err)
	}
	if err := s.load("{\n}\n\n$GATE {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the expired ones have ended", func() bool { return expiring.all() == len(streams) })
	for _, kind := range streams {
		if after, _ := expiring.of(kind.name); begin.Add(after).Sub(expiry) > time.Second {
			t.Errorf("%s: ends %v after its token", kind.name, begin.Add(after).Sub(expiry))
		}
	}
	eventually(t, "the watch has ended", func() bool { return l.empty() && !l.watching.Load() })
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2*len(streams) })
}

// TestLiveRace: requests come and go while all that go on are looked at, and gates
// come and go with configurations.
func TestLiveRace(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	token := s.appToken()
	var going sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		going.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				request, _ := http.NewRequest(http.MethodGet, s.url+"/api/x", nil)
				request.Header.Set("Authorization", "Bearer "+token)
				response, err := client.Do(request)
				if cutOff(err) {
					continue
				}
				if err != nil {
					var net net.Error
					if !errors.As(err, &net) {
						t.Error(err)
					}
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != 200 {
					t.Errorf("status %d", response.StatusCode)
				}
			}
		})
	}
	for range 5 {
		if err := s.load(usualCaddyfile); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	going.Wait()
	eventually(t, "nothing is watched", func() bool { return live() == 0 })
	if strings.Contains(s.log(), "panic") {
		t.Error("a handler panicked")
	}
}

// deadlines is a connection that counts how often it is cut off.
type deadlines struct {
	http.ResponseWriter
	read, write int
}

func (d *deadlines) SetReadDeadline(deadline time.Time) error {
	if deadline.Before(time.Now()) {
		d.read++
	}
	return nil
}

func (d *deadlines) SetWriteDeadline(deadline time.Time) error {
	if deadline.Before(time.Now()) {
		d.write++
	}
	return nil
}

// TestLiveCutAgain: whoever puts the deadlines back in the moment of the cut (what
// takes the connection over, an idle timeout of the server) does not undo it.
func TestLiveCutAgain(t *testing.T) {
	conn := new(deadlines)
	now := time.Now()
	v := &visit{source: new(source), token: &introspect.Token{Expiry: now.Add(time.Minute)}}
	l := &liveRequests{}
	l.watching.Store(true) // by this test
	l.add(v, conn, 0)
	look := func(at time.Time) {
		for n := range l.shards {
			l.shards[n].look(at)
		}
	}
	if look(now); conn.read+conn.write != 0 {
		t.Error("a good token is cut off")
	}
	look(now.Add(time.Minute))
	look(now.Add(time.Minute + liveEvery))
	if conn.read != 2 || conn.write != 2 {
		t.Errorf("cut off %d and %d times, want each time that it is looked at", conn.read, conn.write)
	}
	l.remove(v)
	if look(now.Add(time.Hour)); conn.read != 2 || !l.empty() {
		t.Error("a connection is touched after its request has ended")
	}
}
