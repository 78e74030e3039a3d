package caddymodule

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// startNodes runs a site of two nodes on a database, which each reaches over a
// link of its own.
func startNodes(t *testing.T, database *postgrestest.Server) (site *faultSite, links []*link) {
	t.Helper()
	site = newFaultSite(t, 2, "storage postgres {\n\t\t\tconnection $DATABASE\n\t\t}")
	for _, node := range site.nodes {
		l := newLink(t, database.Address())
		u, err := url.Parse(database.URL())
		if err != nil {
			t.Fatal(err)
		}
		u.Host = l.address
		node.serve(strings.ReplaceAll(site.text, "$DATABASE", u.String()))
		links = append(links, l)
	}
	site.enter()
	return site, links
}

// TestFaultNodes: what must hold across nodes while many are at it.
func TestFaultNodes(t *testing.T) {
	site, _ := startNodes(t, postgrestest.Start(t))
	t.Run("races", func(t *testing.T) { redeemedOnce(t, site) })
	t.Run("revocations and keys", func(t *testing.T) { heardByOtherNode(t, site) })
}

// redeemedOnce: of 50 who redeem one code, or one refresh token, on two nodes at
// once, one gets tokens.
func redeemedOnce(t *testing.T, site *faultSite) {
	const parallel, together = 50, 4
	races := scaled(100, 5_000) // of codes, and as many of refresh tokens
	var won, unwon atomic.Int64
	race := func(a artefact) {
		if a.value == "" {
			return
		}
		var group sync.WaitGroup
		var winners atomic.Int64
		for range parallel {
			group.Go(func() {
				switch e := site.present(a); e {
				case http.StatusOK:
					winners.Add(1)
				case http.StatusBadRequest, http.StatusServiceUnavailable:
				default:
					t.Errorf("%s: status %d", a.grant, e)
				}
			})
		}
		group.Wait()
		switch n := winners.Load(); n {
		case 0:
			unwon.Add(1)
		case 1:
			won.Add(1)
		default:
			site.double.Add(1)
			t.Errorf("a %s is good for %d", a.grant, n)
		}
	}
	var runners sync.WaitGroup
	for range together {
		runners.Go(func() {
			for range races / together {
				code, err := site.code()
				if err != nil {
					t.Error(err)
					return
				}
				race(artefact{"authorization_code", code})
				if code, err = site.code(); err != nil {
					t.Error(err)
					return
				}
				race(artefact{"refresh_token", site.begin(artefact{"authorization_code", code}, 0).refresh})
			}
		})
	}
	runners.Wait()
	t.Logf("%d races of %d: %d won by one, %d by nobody, %d by several; %d answers 503",
		2*races, parallel, won.Load(), unwon.Load(), site.double.Load(), site.refused.Load())
	if won.Load() < int64(2*races)*9/10 {
		t.Errorf("only %d races have a winner", won.Load())
	}
}

// TestFaultDatabaseCrash: the database crashes in the midst of rotations on two
// nodes, and comes back. Nothing acknowledged is lost, nothing is good twice, and
// both nodes serve within 5 s.
func TestFaultDatabaseCrash(t *testing.T) {
	database := postgrestest.StartDurable(t)
	site, _ := startNodes(t, database)
	var worst, late time.Duration
	rounds := scaled(1, 20)
	for range rounds {
		load := site.load(64, nil)
		until := site.acknowledged.Load() + 200
		eventually(t, "acknowledgements", func() bool { return site.acknowledged.Load() >= until || t.Failed() })
		if err := database.Stop(true); err != nil {
			t.Fatal(err)
		}
		load.end()
		if err := database.Start(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for _, node := range site.nodes {
			eventually(t, "the node writes", func() bool { return site.writes(node) })
		}
		took := time.Since(begun)
		if worst = max(worst, took); took > 5*time.Second {
			t.Errorf("both nodes write %s after the start of the database, want 5 s", took)
		}
		// What one node acknowledged as the database went down, the other is told
		// when it is in touch again.
		late = max(late, site.hears(site.nodes[0], site.nodes[1]), site.hears(site.nodes[1], site.nodes[0]))
		if late > heardAgainWithin {
			t.Errorf("a revocation after the crash was heard after %s, want %s", late, heardAgainWithin)
		}
		load.judgeAll()
		if t.Failed() {
			break
		}
	}
	t.Logf("%d crashes: %d acknowledged, %d good twice, %d lost; back within %s, in touch within %s", rounds, site.acknowledged.Load(), site.double.Load(), site.lost.Load(), worst, late)
}

// heardWithin is how long a node may believe what another one has revoked.
const heardWithin = time.Second

// heardAgainWithin is the same where the node has to come in touch first.
const heardAgainWithin = 2 * time.Second

// hears revokes a token on one node, and returns how long the other believes it.
func (s *faultSite) hears(one, other *server) time.Duration {
	s.t.Helper()
	token := s.accessToken(one)
	one.send("POST", "/revoke", url.Values{"token": {token}}.Encode(), basic("web", appSecret), formType).want(s.t, 200)
	begun := time.Now()
	eventually(s.t, "the other node hears of a revocation", func() bool { return s.gate(other, token) == 401 })
	return time.Since(begun)
}

// writes tells whether a node accepts what has to be written.
func (s *faultSite) writes(node *server) bool {
	a, err := s.ask("GET", "http://"+node.admin+"/oauth/health", "")
	return err == nil && a.StatusCode == http.StatusOK
}

// accessToken is one of the client itself.
func (s *faultSite) accessToken(node *server) string {
	s.t.Helper()
	return node.token("web", appSecret, "scope=read")
}

// heardByOtherNode: what one node revokes, the other refuses within a second: a
// token, an authorization by its refresh token, and a signing key. A key that one
// node has just made is believed by the other.
func heardByOtherNode(t *testing.T, site *faultSite) {
	one, other := site.nodes[0], site.nodes[1]
	var worst time.Duration
	heard := func(what, token string, want int) {
		t.Helper()
		begun := time.Now()
		eventually(t, what, func() bool { return site.gate(other, token) == want })
		took := time.Since(begun)
		if worst = max(worst, took); took > heardWithin {
			t.Errorf("%s: heard after %s, want %s", what, took, heardWithin)
		}
	}
	rounds := scaled(3, 200)
	for range rounds {
		token := site.accessToken(one)
		heard("a token of one node passes at the other", token, 200)
		one.send("POST", "/revoke", url.Values{"token": {token}}.Encode(), basic("web", appSecret), formType).want(t, 200)
		heard("a token that was revoked", token, 401)

		code, err := site.code()
		if err != nil {
			t.Fatal(err)
		}
		c := site.begin(artefact{"authorization_code", code}, 1)
		one.send("POST", "/revoke", url.Values{"token": {c.refresh}}.Encode(), basic("web", appSecret), formType).want(t, 200)
		heard("a token whose refresh token was revoked", c.access[0], 401)
		other.send("POST", "/token", artefact{"refresh_token", c.refresh}.form().Encode(), basic("web", appSecret), formType).want(t, 400)
	}
	for range scaled(2, 10) {
		one.adminCall("POST", "/oauth/keys/rotate", map[string]bool{"immediately": true}).want(t, 200)
		token := site.accessToken(one)
		heard("a token of a new key", token, 200)
		one.adminCall("POST", "/oauth/keys/"+keyIDOf(t, token)+"/revoke", struct{}{}).want(t, 200)
		heard("a token whose key was revoked", token, 401)
	}
	t.Logf("%d revocations and %d keys: heard within %s", 2*rounds, 2*scaled(2, 10), worst)
}

// TestFaultDatabaseUnreachable: a node that cannot hear what others revoke refuses
// what could have been, once 10 s have passed, and judges again within 2 s of the
// database's return; the node beside it does not mind. It takes those 10 s, so it
// is one of the long tests.
func TestFaultDatabaseUnreachable(t *testing.T) {
	for range scaled(0, 3) { // ./xcaddy.sh test --all
		site, links := startNodes(t, postgrestest.Start(t))
		cut, whole := site.nodes[0], site.nodes[1]
		token := site.accessToken(cut)
		links[0].cut()
		if a := cut.send("POST", "/revoke", url.Values{"token": {token}}.Encode(), basic("web", appSecret), formType); a.StatusCode != 503 {
			t.Errorf("a revocation that cannot be written: %d %s", a.StatusCode, a.body)
		}
		begun := time.Now()
		eventually(t, "503 for what could have been revoked", func() bool {
			if status := site.gate(whole, token); status != 200 {
				t.Errorf("the other node: %d", status)
			}
			status := site.gate(cut, token)
			if status != 200 && status != 503 {
				t.Errorf("the node without a database: %d", status)
			}
			return status == 503
		})
		refusedAfter := time.Since(begun)
		whole.send("POST", "/revoke", url.Values{"token": {token}}.Encode(), basic("web", appSecret), formType).want(t, 200)
		if status := site.gate(cut, token); status == 200 {
			t.Error("a token that was revoked meanwhile passes")
		}
		links[0].mend()
		begun = time.Now()
		eventually(t, "the node judges again", func() bool { return site.gate(cut, token) == 401 })
		back := time.Since(begun)
		t.Logf("refused after %s, back after %s", refusedAfter, back)
		if back > 2*time.Second {
			t.Errorf("back after %s, want 2 s", back)
		}
		if refusedAfter > 11*time.Second {
			t.Errorf("what could have been revoked passed for %s, want 10 s", refusedAfter)
		}
	}
}

// keyIDOf is the kid of a token.
func keyIDOf(t *testing.T, token string) string {
	t.Helper()
	var header struct {
		ID string `json:"kid"`
	}
	decodePart(t, token, 0, &header)
	return header.ID
}

// link carries connections to a server, until it is cut.
type link struct {
	address, target string

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{address: listener.Addr().String(), target: target}
	var carried sync.WaitGroup
	carried.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			carried.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		carried.Wait()
	})
	return l
}

// carry copies both ways until either side ends.
func (l *link) carry(conn net.Conn) {
	defer conn.Close()
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	isCut := l.isCut
	l.conns = append(l.conns, conn, far)
	l.mu.Unlock()
	if isCut {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(conn, far)
		_ = conn.Close()
	}()
	_, _ = io.Copy(far, conn)
	_ = far.Close()
	<-back
}

// cut breaks all connections, and each that is made from now on.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}
