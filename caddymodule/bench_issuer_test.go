package caddymodule

import (
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
	limit /sign sign
	limit /redeem commit $DIR/redeem.db %d
	limit /redeem-whole both $DIR/redeem-whole.db %s
	limit /rotate commit $DIR/rotate.db %d
	limit /rotate-whole both $DIR/rotate-whole.db %s
}
`

// issuerCase is one kind of request to a token endpoint, or to a limit. Each body
// is sent once, where there is more than one.
type issuerCase struct {
	name, path, client string
	limits             string // the cases it is compared with; empty: this is one
	server             *process
	bodies             string // file with one a line
	once               bool
	sent               int // of the bodies

	rates, cpus []float64 // of each turn: requests a second, and processor time for one
}

// preparedGrants is how many codes, and how many refresh tokens, there are to
// use up in one run with one number of connections.
const preparedGrants = 60_000

// BenchmarkIssuer compares what the token endpoint answers with the least that it
// has to do for it: a signature for client credentials; for a code and for a
// refresh token a durable write of as many bytes through the same storage on the same
// disk, as one record, and as the records that it writes with a signature. wrk sends
// the same requests to both, in turns of two seconds. Issuer and limit are processes
// of one binary; docs/benchmarks.md says how to read it.
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
							c.rates, c.cpus = append(c.rates, rate), append(c.cpus, cpu)
						}
					}
				}
			}
			byName := make(map[string]*issuerCase)
			for _, c := range cases {
				byName[c.name] = c
				b.ReportMetric(median(c.rates), c.name+"-req/s")
				b.ReportMetric(median(c.cpus)*1e6, c.name+"-cpu-us/req")
				for _, name := range strings.Fields(c.limits) {
					b.ReportMetric(medianRatio(c.rates, byName[name].rates), c.name+"/"+name+"-throughput-ratio")
					b.ReportMetric(medianRatio(c.cpus, byName[name].cpus), c.name+"/"+name+"-cpu-ratio")
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
	limits := serve(newServer(b, ""), fmt.Sprintf(limitCaddyfile, grants.redeemed.sum(), grants.redeemed, grants.rotated.sum(), grants.rotated))

	one := issuer.writeLines("client_credentials", []string{"grant_type=client_credentials"})
	codes, tokens := issuer.writeLines("codes", grants.codes), issuer.writeLines("refresh_tokens", grants.refreshTokens)
	return []*issuerCase{
		{name: "sign", path: "/sign", client: "app", server: limits, bodies: one},
		{name: "client_credentials", path: "/token", client: "app", limits: "sign", server: issuer, bodies: one},
		{name: "client_credentials-audited", path: "/token", client: "app", limits: "sign", server: audited, bodies: one},
		{name: "redeem", path: "/redeem", client: "web", server: limits, bodies: codes},
		{name: "redeem-whole", path: "/redeem-whole", client: "web", server: limits, bodies: codes},
		{name: "authorization_code", path: "/token", client: "web", limits: "redeem redeem-whole", server: issuer, bodies: codes, once: true},
		{name: "rotate", path: "/rotate", client: "web", server: limits, bodies: tokens},
		{name: "rotate-whole", path: "/rotate-whole", client: "web", server: limits, bodies: tokens},
		{name: "refresh_token", path: "/token", client: "web", limits: "rotate rotate-whole", server: issuer, bodies: tokens, once: true},
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

// grantFile is a storage in which somebody has granted something to a client, once
// by a code that was redeemed and once by one that was not.
type grantFile struct {
	path         string
	store        *bolt.Storage
	book         *ledger.Ledger
	issuer       string
	redeemed     string // code
	refreshToken string // that it gave
	code         *signin.Code
	written      records // by the redemption; the last one is the refresh token
}

// records are the sizes of records: keys and values, without the expiry index.
type records []int

func (r records) sum() (bytes int) {
	for _, size := range r {
		bytes += size
	}
	return bytes
}

// String is how a Caddyfile has them.
func (r records) String() string { return strings.Trim(fmt.Sprint([]int(r)), "[]") }

// grantOnce has alice sign in and grant something twice, stops the server and opens
// its storage.
func (p *process) grantOnce(b *testing.B) *grantFile {
	b.Helper()
	alice := p.person()
	const scope = "offline_access read"
	g := &grantFile{path: filepath.Join(p.dir, "oauth.db"), issuer: p.url, redeemed: codeOf(p.server, alice, scope)}
	code := codeOf(p.server, alice, scope)
	e := p.send("POST", "/token", redeemForm(g.redeemed), basic("web", appSecret), formType)
	e.want(b, 200)
	g.refreshToken = e.member(b, "refresh_token")
	p.stop()

	var err error
	if g.store, err = bolt.Open(g.path, bolt.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.store.Close() })
	if g.book, err = ledger.Open(b.Context(), g.store, p.url, func() time.Duration { return time.Hour }); err != nil {
		b.Fatal(err)
	}
	err = g.store.View(b.Context(), func(tx storage.Tx) (err error) {
		key, _ := record.HandleKey(p.url, code)
		if g.code, err = signin.GetCode(tx, key); err != nil {
			return err
		}
		return g.weigh(tx)
	})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// weigh measures what the redemption of a code has written.
func (g *grantFile) weigh(tx storage.Tx) (err error) {
	weigh := func(kind, key string) {
		value, missing := tx.Get(kind, key)
		err = errors.Join(err, missing)
		g.written = append(g.written, len(key)+len(value))
	}
	key, _ := record.HandleKey(g.issuer, g.redeemed)
	weigh("code", key)
	code, missing := signin.GetCode(tx, key)
	if missing != nil {
		return missing
	}
	id, subject := code.Authorization.ID, code.Authorization.Subject
	weigh("authorization", g.issuer+" "+id)
	weigh("authorized_by", g.issuer+" "+subject+" "+id)
	key, _ = record.HandleKey(g.issuer, g.refreshToken)
	weigh("refresh_token", key)
	return err
}

// copyCode writes a code like the one that was not redeemed.
func (g *grantFile) copyCode(tx storage.Tx) (code string, err error) {
	made := *g.code
	made.Authorization.ID = record.NewID()
	made.Expiry = time.Now().UTC().Add(time.Hour)
	code = record.NewHandle()
	key, _ := record.HandleKey(g.issuer, code)
	return code, signin.PutCode(tx, key, &made, made.Expiry)
}

// copyRefreshToken writes an authorization like the one that was given, of that
// person, and a refresh token of it that expires then.
func (g *grantFile) copyRefreshToken(tx storage.Tx, subject string, expiry time.Time) (token string, err error) {
	made := g.code.Authorization
	made.ID, made.Subject = record.NewID(), subject
	token = record.NewHandle()
	key, _ := record.HandleKey(g.issuer, token)
	value := map[string]string{"authorization_id": made.ID}
	return token, errors.Join(g.book.Put(tx, &made), record.Put(tx, "refresh_token", key, value, expiry))
}

// grants are what people have granted, ready to be redeemed.
type grants struct {
	codes, refreshTokens []string // as forms
	redeemed, rotated    records  // that a redemption and a rotation write
}

// prepareGrants makes many copies of a grant in the storage of a server, which it
// stops: each is as the issuer wrote it, with an authorization of its own.
func (p *process) prepareGrants(b *testing.B) *grants {
	g := p.grantOnce(b)
	token := g.written[len(g.written)-1]
	all := &grants{redeemed: g.written, rotated: records{token, token}}
	for len(all.codes) < preparedGrants {
		code, refreshToken := make([]string, 500), make([]string, 500)
		err := g.store.Update(b.Context(), func(tx storage.Tx) (err error) {
			for n := range code {
				var err1, err2 error
				code[n], err1 = g.copyCode(tx)
				refreshToken[n], err2 = g.copyRefreshToken(tx, g.code.Authorization.Subject, g.code.Authorization.Expiry)
				err = errors.Join(err, err1, err2)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		for n := range code {
			all.codes = append(all.codes, redeemForm(code[n]))
			all.refreshTokens = append(all.refreshTokens, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken[n]}}.Encode())
		}
	}
	if err := g.store.Close(); err != nil {
		b.Fatal(err)
	}
	return all
}
