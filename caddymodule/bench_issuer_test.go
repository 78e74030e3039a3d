package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// issuerCaddyfile is an issuer with one client for each grant. $AUDIT is where the
// audit trail goes, or nothing.
const issuerCaddyfile = `{
	oauth {
		storage bolt {
			path $DIR/oauth.db
		}
		issuer $GATE {
			scope read "Read"
			client app {
				secret_hash $HASH
				grant client_credentials
				scope read
			}
			client web {
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				scope offline_access read
			}
		}
	}
	$AUDIT
}

$GATE {
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		scope * read
	}
}
`

// limitCaddyfile has the least that each grant has to do.
const limitCaddyfile = `{
}

$GATE {
	limit /sign
	limit /redeem %d $DIR/redeem.db
	limit /rotate %d $DIR/rotate.db
}
`

// issuerCase is one kind of request to a token endpoint, or to a limit. Each body
// is sent once, where there is more than one.
type issuerCase struct {
	name, path, client string
	limit              string // the case it is compared with; empty: this is one
	server             *process
	bodies             string // file with one a line
	once               bool
	sent               int // of the bodies

	rate, cpu float64 // sums over the turns, as in wireCase
}

// preparedGrants is how many codes, and how many refresh tokens, there are to
// use up in one run with one number of connections.
const preparedGrants = 60_000

// BenchmarkIssuer compares what the token endpoint answers with the least that it
// has to do for it: a signature for client credentials; a durable write of as many
// bytes, of one record through the same storage on the same disk, for a code and
// for a refresh token. wrk sends the same requests to both, in turns of two
// seconds. Issuer and limit are processes of one binary; docs/benchmarks.md says
// how to read it.
func BenchmarkIssuer(b *testing.B) {
	b.Setenv(beCaddy, "1")
	for _, connections := range []int{1, 32, 128} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			const turns = 5
			cases := issuerCases(b)
			for b.Loop() {
				for turn := range turns + 1 {
					for _, c := range cases {
						if rate, cpu := c.load(b, connections); turn > 0 { // the first turn warms up
							c.rate, c.cpu = c.rate+rate, c.cpu+cpu
						}
					}
				}
			}
			byName := make(map[string]*issuerCase)
			for _, c := range cases {
				byName[c.name] = c
				b.ReportMetric(c.rate/float64(turns*b.N), c.name+"-req/s")
				b.ReportMetric(c.cpu/float64(turns*b.N)*1e6, c.name+"-cpu-us/req")
				if limit := byName[c.limit]; limit != nil {
					b.ReportMetric(c.rate/limit.rate, c.name+"-throughput-ratio")
					b.ReportMetric(c.cpu/limit.cpu, c.name+"-cpu-ratio")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// issuerCases starts the servers and prepares what is sent to them.
func issuerCases(b *testing.B) []*issuerCase {
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	serve := func(s *server, caddyfile string) *process {
		s.program = program
		return s.serve(caddyfile)
	}
	quiet := strings.Replace(issuerCaddyfile, "$AUDIT", "", 1)
	s := newServer(b, "")
	grants := serve(s, quiet).prepareGrants(b)
	issuer := serve(s, quiet)
	audited := serve(newServer(b, ""), strings.Replace(issuerCaddyfile, "$AUDIT",
		"log audit {\n\t\toutput file $DIR/audit.log\n\t\tlevel INFO\n\t\tinclude oauth.audit\n\t}", 1))
	limits := serve(newServer(b, ""), fmt.Sprintf(limitCaddyfile, grants.redeemBytes, grants.rotateBytes))

	one := issuer.writeLines("client_credentials", []string{"grant_type=client_credentials"})
	codes, tokens := issuer.writeLines("codes", grants.codes), issuer.writeLines("refresh_tokens", grants.refreshTokens)
	return []*issuerCase{
		{name: "sign", path: "/sign", client: "app", server: limits, bodies: one},
		{name: "client_credentials", path: "/token", client: "app", limit: "sign", server: issuer, bodies: one},
		{name: "client_credentials-audited", path: "/token", client: "app", limit: "sign", server: audited, bodies: one},
		{name: "commit-redeem", path: "/redeem", client: "web", server: limits, bodies: codes},
		{name: "authorization_code", path: "/token", client: "web", limit: "commit-redeem", server: issuer, bodies: codes, once: true},
		{name: "commit-rotate", path: "/rotate", client: "web", server: limits, bodies: tokens},
		{name: "refresh_token", path: "/token", client: "web", limit: "commit-rotate", server: issuer, bodies: tokens, once: true},
	}
}

// wrkForms sends the bodies of a file in turn, beginning after the first ones.
const wrkForms = `
local bodies, n = {}, %d
for line in io.lines(%q) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/x-www-form-urlencoded", ["Authorization"] = %q}
request = function()
	n = n %% #bodies + 1
	return wrk.format("POST", %q, headers, bodies[n])
end
`

// load sends requests for two seconds; see (*process).load.
func (c *issuerCase) load(b *testing.B, connections int) (rate, cpu float64) {
	_, authorization, _ := strings.Cut(basic(c.client, appSecret), ": ")
	before := c.server.processorSeconds(b)
	m, output := c.server.runWrk(b, fmt.Sprintf(wrkForms, c.sent, c.bodies, authorization, c.path), connections, 2*time.Second)
	if c.once { // as many as were answered, one on each connection that was not, and one that wrk tries out
		c.sent += int(m.requests) + connections + 1
	}
	if m.refused || c.sent > preparedGrants {
		b.Fatalf("%s: %d of %d sent: %s\n%s", c.name, c.sent, preparedGrants, output, c.server.log())
	}
	return m.rate, (c.server.processorSeconds(b) - before) / m.requests
}

// grants are what people have granted, ready to be redeemed.
type grants struct {
	codes, refreshTokens     []string // as forms
	redeemBytes, rotateBytes int      // that a redemption and a rotation write: keys and values, without those of the index
}

// prepareGrants has alice sign in and grant something twice, stops the server and
// makes many of these in its storage: all are as the issuer wrote them, each with
// an authorization of its own.
func (p *process) prepareGrants(b *testing.B) *grants {
	alice := p.person()
	const scope = "offline_access read"
	redeemed, code := codeOf(p.server, alice, scope), codeOf(p.server, alice, scope)
	e := p.send("POST", "/token", redeemForm(redeemed), basic("web", appSecret), formType)
	e.want(b, 200)
	refreshToken := e.member(b, "refresh_token")
	p.stop()

	store, err := bolt.Open(filepath.Join(p.dir, "oauth.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	g := &grants{}
	g.measure(b, store, p.url, redeemed, refreshToken)
	var original *signin.Code
	err = store.View(context.Background(), func(tx storage.Tx) (err error) {
		key, _ := record.HandleKey(p.url, code)
		original, err = signin.GetCode(tx, key)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	book, err := ledger.Open(context.Background(), store, p.url, func() time.Duration { return time.Hour })
	if err != nil {
		b.Fatal(err)
	}
	for len(g.codes) < preparedGrants {
		code, refreshToken := make([]string, 500), make([]string, 500)
		err := store.Update(context.Background(), func(tx storage.Tx) (err error) {
			for n := range code {
				var err1, err2 error
				code[n], err1 = copyCode(tx, p.url, original)
				refreshToken[n], err2 = copyRefreshToken(tx, book, p.url, original.Authorization)
				err = errors.Join(err, err1, err2)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		for n := range code {
			g.codes = append(g.codes, redeemForm(code[n]))
			g.refreshTokens = append(g.refreshTokens, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken[n]}}.Encode())
		}
	}
	return g
}

// measure weighs what the redemption of a code and of a refresh token write.
func (g *grants) measure(b *testing.B, store storage.Storage, issuer, code, refreshToken string) {
	err := store.View(context.Background(), func(tx storage.Tx) error {
		weigh := func(kind, key string) (int, error) {
			value, err := tx.Get(kind, key)
			return len(key) + len(value), err
		}
		key, _ := record.HandleKey(issuer, code)
		redeemed, err := signin.GetCode(tx, key)
		if err != nil {
			return err
		}
		granted := redeemed.Authorization
		size1, err1 := weigh("code", key)
		size2, err2 := weigh("authorization", issuer+" "+granted.ID)
		size3, err3 := weigh("authorized_by", issuer+" "+granted.Subject+" "+granted.ID)
		key, _ = record.HandleKey(issuer, refreshToken)
		size4, err4 := weigh("refresh_token", key)
		g.redeemBytes, g.rotateBytes = size1+size2+size3+size4, 2*size4
		return errors.Join(err1, err2, err3, err4)
	})
	if err != nil {
		b.Fatal(err)
	}
}

// copyCode writes a code like another one.
func copyCode(tx storage.Tx, issuer string, original *signin.Code) (code string, err error) {
	made := *original
	made.Authorization.ID = record.RandomText(16)
	made.Expiry = time.Now().UTC().Add(time.Hour)
	code = record.NewHandle()
	key, _ := record.HandleKey(issuer, code)
	return code, signin.PutCode(tx, key, &made, made.Expiry)
}

// copyRefreshToken writes a refresh token of an authorization like another one.
func copyRefreshToken(tx storage.Tx, book *ledger.Ledger, issuer string, granted ledger.Authorization) (token string, err error) {
	granted.ID = record.RandomText(16)
	token = record.NewHandle()
	key, _ := record.HandleKey(issuer, token)
	value := map[string]string{"authorization_id": granted.ID}
	return token, errors.Join(book.Put(tx, &granted), record.Put(tx, "refresh_token", key, value, granted.Expiry))
}
