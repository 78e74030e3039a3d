package caddymodule

import (
	"encoding/base64"
	"math/bits"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/postgres/postgrestest"
)

// codeAttack finds the code of an entry about authorization codes (RFC 6749
// §4.1.3).
func codeAttack(a attack) attackCode {
	if code := codeAttacks[a.ID]; code != nil {
		return code
	}
	if described, ok := strings.CutPrefix(a.Title, "mutated code: "); ok {
		if mutations := codeMutations[described]; mutations != nil {
			return mutatedCode(mutations)
		}
	}
	if found := regexp.MustCompile(`^(.*) presented as (\w+)$`).FindStringSubmatch(a.Title); found != nil {
		if things := otherThings[found[1]]; things != nil {
			return confusedWith(things, found[2])
		}
	}
	return nil
}

// codeMutations are what is like a code and is none.
var codeMutations = map[string]func(code string) []string{
	"1 char appended": func(code string) []string { return []string{code + "A", code + "=", code + code} },
	"leading/trailing space": func(code string) []string {
		return []string{" " + code, code + " ", code + "\n", "\t" + code, code[:20] + " " + code[20:]}
	},
	"%00 appended": func(code string) []string { return []string{code + "\x00", "\x00" + code, code + "%00"} },
	"base64 alphabet variant (+/ for -_)": func(code string) []string {
		b, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil {
			panic(err)
		}
		all := []string{base64.StdEncoding.EncodeToString(b) + "=", base64.RawURLEncoding.EncodeToString(b[1:]), strings.ToLower(code), strings.ToUpper(code)}
		if standard := base64.RawStdEncoding.EncodeToString(b); standard != code {
			all = append(all, standard)
		}
		if other := otherLastLetter(code, urlLetters); other != code {
			all = append(all, other)
		}
		return all
	},
}

// mutatedCode: what is like a code is refused, and does the code no harm.
func mutatedCode(mutations func(string) []string) attackCode {
	return func(a *attempt) {
		code := a.visitor("alice").code("web")
		for _, mutation := range mutations(code) {
			a.judge(a.redeem("web", mutation))
		}
		a.must(a.redeem("web", code))
	}
}

// otherThings are secrets of the issuer that are no codes, each with a check that
// it is still good for what it is.
var otherThings = map[string]func(*attempt) (thing string, intact func() bool){
	"refresh token": func(a *attempt) (string, func() bool) {
		f := a.family("web")
		return f.refresh, func() bool { return a.refresh("web", f.refresh).StatusCode == 200 }
	},
	"user_code": func(a *attempt) (string, func() bool) {
		e := a.deviceRequest("devconf")
		return e.member(a.T, "user_code"), func() bool {
			return a.poll("devconf", e.member(a.T, "device_code")).errorCode() == "authorization_pending"
		}
	},
	"code": func(a *attempt) (string, func() bool) {
		code := a.visitor("alice").code("web")
		return code, func() bool { return a.redeem("web", code).StatusCode == 200 }
	},
	"access token (JWT)": func(a *attempt) (string, func() bool) {
		token := a.family("web").first
		return token, func() bool { return a.active(token) }
	},
	"PAR request_uri value": func(a *attempt) (string, func() bool) {
		// Requests are not pushed here (RFC 9126), so a value is made up.
		return "urn:ietf:params:oauth:request_uri:" + a.visitor("alice").code("web"), func() bool { return true }
	},
	"registration access token": func(a *attempt) (string, func() bool) {
		e := a.must(a.toIssuer("POST", "/register", `{"redirect_uris":["https://app.test/cb"],"client_name":"App"}`, "Content-Type: application/json"))
		token := a.secret(e, "registration_access_token")
		return token, func() bool {
			return a.toIssuer("GET", "/register/"+e.member(a.T, "client_id"), "", bearer(token)).StatusCode == 200
		}
	},
	"consent/login continuation id": func(a *attempt) (string, func() bool) {
		v := a.visitor("bob")
		v.open("/authorize?" + authorizationRequest("web").Encode())
		_, form := v.form("login")
		return form.Get("transaction"), func() bool {
			v.signIn()
			if v.shows("allow") {
				v.press("allow")
			}
			return v.returned().Get("code") != ""
		}
	},
	"session cookie value": func(a *attempt) (string, func() bool) {
		v := a.visitor("alice").signedIn()
		return v.cookie("session"), func() bool {
			v.open("/account")
			return !v.shows("login")
		}
	},
}

// confusedWith: one thing is presented for another. It is refused, and left as it
// was.
func confusedWith(things func(*attempt) (string, func() bool), presented string) attackCode {
	return func(a *attempt) {
		thing, intact := things(a)
		if thing == "" {
			a.Fatal("there is nothing to present")
		}
		a.plant(thing)
		switch presented {
		case "code":
			a.judge(a.redeem("web", thing))
		case "refresh_token":
			a.judge(a.refresh("web", thing))
		case "device_code":
			a.judge(a.poll("devconf", thing))
		default:
			a.Fatalf("nothing is presented as %s", presented)
		}
		if !intact() {
			a.Error("it is not good any more for what it is")
		}
	}
}

var codeAttacks = map[string]attackCode{
	"IC-002": redeemedAtOnce,
	"IC-003": redeemedOnTwoNodes,
	"IC-005": func(a *attempt) {
		code := a.visitor("alice").code("web")
		a.judge(a.redeem("web2", code), a.redeem("spa", code))
		if log := string(a.logSince(a.logStart)); !strings.Contains(log, "given to client web") {
			a.Error("the log does not tell of the attempt")
		}
		a.must(a.redeem("web", code))
	},
	"IC-030": func(a *attempt) {
		v := a.visitor("alice")
		withURI, without := v.code("web"), v.code("web")
		a.reconfigure(strings.Replace(a.text, "redirect_uri https://app.test/cb", "redirect_uri https://app.test/new", 1))
		defer a.reconfigure(a.text)
		a.judge(a.redeem("web", withURI), a.redeem("web", without, "-redirect_uri"), a.redeem("web", without, "redirect_uri=https://app.test/new"))
	},
	"IC-031": func(a *attempt) {
		code := a.visitor("alice").code("web")
		a.reconfigure(strings.Replace(a.text, `name "The web application"`, `name "The web application, renamed"`, 1))
		a.judge(a.redeem("web", code))
		a.reconfigure(a.text)
		if e := a.redeem("web", code); e.StatusCode != 400 || e.errorCode() != "invalid_grant" {
			a.Errorf("again, after another reload: %d %s", e.StatusCode, e.body)
		}
	},
	"IC-032": codesAreRandom,
}

// redeemedAtOnce: of fifty who redeem one code, one gets tokens. That the others
// came at all means that the code was stolen, so those tokens end too.
func redeemedAtOnce(a *attempt) {
	rounds := 20
	if os.Getenv("OAUTH_TEST_ALL") != "" {
		rounds = 200
	}
	v := a.visitor("alice")
	v.code("web")
	a.measured["successes"] = 1
	for range rounds {
		code := v.code("web")
		var successes atomic.Int64
		var mu sync.Mutex
		var others sync.WaitGroup
		for range 50 {
			others.Go(func() {
				e := a.redeem("web", code)
				if e.StatusCode == 200 {
					successes.Add(1)
				}
				mu.Lock()
				defer mu.Unlock()
				a.judge(e)
			})
		}
		others.Wait()
		if n := successes.Load(); n != 1 {
			a.measured["successes"] = float64(n)
		}
	}
}

// nodeCaddyfile is one of several nodes on one database.
const nodeCaddyfile = `{
	oauth {
		storage postgres {
			connection $DATABASE
		}
		issuer $ISSUER {
			scope read "Read"
			default_resource $ISSUER/api
			client web {
				secret_hash $HASH
				grant authorization_code refresh_token
				redirect_uri https://app.test/cb
				scope openid offline_access read
			}
		}
	}
}

$GATE {
	oauth_issuer $ISSUER
}
`

// redeemedOnTwoNodes: of those who redeem one code on two nodes at once, one gets
// tokens.
func redeemedOnTwoNodes(a *attempt) {
	database := postgrestest.Start(a.T)
	nodes := []*server{newServer(a.T, ""), newServer(a.T, "")}
	text := strings.NewReplacer("$DATABASE", database.URL(), "$ISSUER", nodes[0].url).Replace(nodeCaddyfile)
	for _, node := range nodes {
		node.serve(text)
	}
	alice := nodes[0].person()
	a.measured["successes"] = 1
	for range 20 {
		form := redeemForm(codeOf(nodes[0], alice, "openid read"))
		var successes atomic.Int64
		var mu sync.Mutex
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				e, err := nodes[n%2].try("POST", "/token", form, basic("web", appSecret), formType)
				if err != nil {
					a.Error(err)
					return
				}
				if e.StatusCode == 200 {
					successes.Add(1)
				}
				mu.Lock()
				defer mu.Unlock()
				a.judge(exchange{answer: e, toIssuer: true, path: "/token"})
			})
		}
		all.Wait()
		if n := successes.Load(); n != 1 {
			a.measured["successes"] = float64(n)
		}
	}
}

// codesAreRandom: what is random of a code is 128 bits at least and looks like it:
// no 64 bits of it come again, ones and zeros are as many, and so are runs of
// them (the monobit and the runs test of NIST SP 800-22, for a chance of one in a
// million).
func codesAreRandom(a *attempt) {
	const visitors, each = 10, 1000
	var mu sync.Mutex
	var codes [][]byte
	var all sync.WaitGroup
	for range visitors {
		v := a.visitor("alice")
		v.code("web")
		all.Go(func() {
			for range each {
				code, err := base64.RawURLEncoding.DecodeString(v.authorize(authorizationRequest("web")).Get("code"))
				if err != nil {
					a.Error(err)
					return
				}
				mu.Lock()
				codes = append(codes, code)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(codes) != visitors*each {
		a.Fatalf("%d codes", len(codes))
	}
	// The first bytes are the hour, by which records are ordered: they are the
	// same in all codes, or in those of two hours.
	heads := make(map[string]bool)
	fixed := 0
	for ; fixed < len(codes[0]); fixed++ {
		clear(heads)
		for _, code := range codes {
			heads[string(code[:fixed+1])] = true
		}
		if len(heads) > 2 {
			break
		}
	}
	if random := len(codes[0]) - fixed; random < 16 {
		a.Fatalf("%d of %d bytes are random", random, len(codes[0]))
	}
	windows := make(map[string]bool)
	ones, runs, n, last := 0, 0, 0, -1
	for _, code := range codes {
		tail := code[fixed:]
		for at := range len(tail) - 7 {
			if windows[string(tail[at:at+8])] {
				a.Fatalf("64 bits came twice")
			}
			windows[string(tail[at:at+8])] = true
		}
		for _, b := range tail {
			ones += bits.OnesCount8(b)
			for bit := range 8 {
				now := int(b>>bit) & 1
				if now != last {
					runs++
				}
				last = now
				n++
			}
		}
	}
	// Five standard deviations: sqrt(n)/2 of each.
	bound := 5 * isqrt(n) / 2
	if off := ones - n/2; off > bound || -off > bound {
		a.Errorf("%d of %d bits are ones", ones, n)
	}
	if off := runs - n/2; off > bound || -off > bound {
		a.Errorf("%d runs in %d bits", runs, n)
	}
}

func isqrt(n int) int {
	root := 0
	for (root+1)*(root+1) <= n {
		root++
	}
	return root
}

// deviceRequest begins the device flow for a client.
func (a *attempt) deviceRequest(client string, changes ...string) exchange {
	a.Helper()
	form := url.Values{"scope": {"openid read"}}
	lines := identified(client, form)
	e := a.must(a.post("/device-authorization", changedForm(form, changes...), lines...))
	a.plant(e.member(a.T, "device_code"))
	return e
}

// poll asks for the tokens of a device.
func (a *attempt) poll(client, deviceCode string, changes ...string) exchange {
	a.Helper()
	return a.ask(client, deviceGrant, url.Values{"device_code": {deviceCode}}, changes...)
}
