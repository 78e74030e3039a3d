package caddymodule

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// cacheAttack finds the code of an entry about what the gate remembers: tokens and
// keys.
func cacheAttack(a attack) attackCode {
	if code := cacheAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^IdP JWKS answers (.*)$`).FindStringSubmatch(a.Title); found != nil {
		return badKeySet(found[1])
	}
	return nil
}

// badKeySet: an answer with which nothing can be verified opens nothing, and takes
// away nothing.
func badKeySet(described string) attackCode {
	fault := map[string]struct {
		cold, warm string // names of issuers
		serve      http.HandlerFunc
	}{
		`{"keys":[]}`: {"empty", "emptied", emptySet},
		"300 MB body": {"huge", "swollen", hugeSet},
		"10 000 keys": {"many", "crowded", crowdedSet},
	}[described]
	return func(a *attempt) {
		a.fault = true
		cold := a.toGate("GET", "/api/a", a.shows(a.signedBy(a.keys.good, "https://"+fault.cold+".test", nil, nil)))
		a.judge(cold)
		if cold.StatusCode == 200 || cold.took > 3*time.Second {
			a.Errorf("with no key ever seen: %d after %v", cold.StatusCode, cold.took)
		}
		issuer := "https://" + fault.warm + ".test"
		good := a.signedBy(a.keys.good, issuer, nil, nil)
		if e := a.toGate("GET", "/api/a", bearer(good)); e.StatusCode != 200 {
			a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
		}
		a.idp.answer(fault.warm, fault.serve)
		a.refetch(issuer)
		for range 3 {
			e := a.toGate("GET", "/api/a", bearer(a.signedBy(a.keys.good, issuer, nil, nil)))
			a.judge(e)
			if e.StatusCode != 200 || e.took > 2*time.Second {
				a.Errorf("a token by a key that is known: %d after %v", e.StatusCode, e.took)
			}
		}
	}
}

// refetch shows tokens by unknown keys until the issuer's keys are asked for
// again, which is at most half a minute after the last time.
func (a *attempt) refetch(issuer string) {
	a.Helper()
	name := strings.TrimSuffix(strings.TrimPrefix(issuer, "https://"), ".test")
	before := a.idp.fetched(name)
	a.patiently("a fetch of "+name, func() bool {
		a.toGate("GET", "/api/a", bearer(a.signedBy(newKey("unknown-"+rand.Text()), issuer, nil, nil)))
		return a.idp.fetched(name) > before
	})
}

// patiently waits for what the gate does in its own time.
func (a *attempt) patiently(what string, holds func() bool) {
	a.Helper()
	deadline := time.After(40 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			a.Fatal("not within 40 s:", what)
		}
	}
}

// expiring shows tokens again and again until all are refused. While one is good
// it passes, from the cache too; from the second of its exp on it does not.
func expiring(a *attempt, sign ...func(claims map[string]any) string) {
	end := time.Now().Add(2 * time.Second).Truncate(time.Second)
	var tokens []string
	for _, s := range sign {
		tokens = append(tokens, s(map[string]any{"exp": end.Unix()}))
	}
	passed := 0
	a.patiently("the end of the tokens", func() bool {
		for _, token := range tokens {
			asked := time.Now()
			e := a.toGate("GET", "/api/a", a.shows(token))
			if e.StatusCode == 200 {
				passed++
			}
			if e.StatusCode == 200 && !asked.Before(end) {
				a.Errorf("passed %v after its exp", asked.Sub(end))
			}
			if e.StatusCode != 200 && time.Now().Before(end) {
				a.Errorf("refused before its exp: %d %s", e.StatusCode, e.errorCode())
			}
		}
		return !time.Now().Before(end)
	})
	if passed < 2*len(tokens) {
		a.Errorf("%d tokens passed %d times, want twice each at least, to come out of the cache", len(tokens), passed)
	}
	a.backend.take()
	for _, token := range tokens {
		a.judge(a.toGate("GET", "/api/a", bearer(token)))
	}
}

var cacheAttacks = map[string]attackCode{
	"GK-002": func(a *attempt) {
		expiring(a,
			func(claims map[string]any) string { return a.signed(nil, claims) },
			func(claims map[string]any) string { return a.signedBy(a.keys.good, goodIssuer, nil, claims) },
		)
	},
	"GK-003": func(a *attempt) {
		token := a.token("svc", appSecret, "scope=read", "resource=https://api.test")
		for range 3 {
			if e := a.toGate("GET", "/api/a", a.shows(token)); e.StatusCode != 200 {
				a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
			}
		}
		a.revoke(token)
		a.backend.take()
		a.judge(a.toGate("GET", "/api/a", bearer(token)), a.toGate("GET", "/api/a", "Authorization: "+token))
	},
	"GK-004": func(a *attempt) {
		for range 2 {
			if e := a.toGate("GET", "/pair/one", bearer(opaqueToken)); e.StatusCode != 200 {
				a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
			}
		}
		a.backend.take()
		a.judge(a.toGate("GET", "/pair/two", bearer(opaqueToken)))
	},
	"GK-008": func(a *attempt) {
		before := a.idp.fetched("flooded")
		good := bearer(a.signedBy(a.keys.good, floodedIssuer, nil, nil))
		stranger := newKey("")
		for range 10 {
			var flood strings.Builder
			for range 200 {
				stranger.kid = rand.Text()
				flood.WriteString(requestHead("GET", "/api/a", "Host: gw.test", bearer(a.signedBy(stranger, floodedIssuer, nil, nil))))
			}
			a.judge(a.wire(a.gate, flood.String(), 200)...)
			if got := a.backend.take(); len(got) > 0 {
				a.Fatalf("the backend got %q", got[0])
			}
			if e := a.toGate("GET", "/api/a", good); e.StatusCode != 200 {
				a.Errorf("a good token is refused meanwhile: %d %s", e.StatusCode, e.body)
			}
			a.backend.take()
		}
		a.measured["jwks_fetches"] = float64(a.idp.fetched("flooded") - before)
	},
	"GK-009": func(a *attempt) {
		old := a.signedBy(a.keys.good, rotatingIssuer, nil, nil)
		if e := a.toGate("GET", "/api/a", a.shows(old)); e.StatusCode != 200 {
			a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
		}
		a.idp.publish("rotating", a.keys.good.public(), a.keys.next.public())
		fresh := a.signedBy(a.keys.next, rotatingIssuer, nil, nil)
		var e exchange
		a.patiently("a token by the new key passes", func() bool {
			e = a.toGate("GET", "/api/a", a.shows(fresh))
			return e.StatusCode == 200
		})
		a.judge(e, a.toGate("GET", "/api/a", a.shows(old)))
	},
	"GK-025": func(a *attempt) {
		token := a.goodToken()
		if e := a.toGate("GET", "/api/a", a.shows(token)); e.StatusCode != 200 {
			a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
		}
		a.reload(strings.ReplaceAll(a.text, "resource https://api.test", "resource https://other.test"))
		a.backend.take()
		a.judge(a.toGate("GET", "/api/a", bearer(token)))
		if got := a.backend.take(); len(got) > 0 {
			a.Errorf("the backend got %q", got)
		}
		a.reload(a.text)
		if e := a.toGate("GET", "/api/a", bearer(token)); e.StatusCode != 200 {
			a.Errorf("with the first configuration again: %d", e.StatusCode)
		}
		a.backend.take()
	},
}

// reload gives the server another configuration and returns when the listener of
// the gate has been handed over.
func (a *attempt) reload(text string) {
	a.Helper()
	if err := a.load(text); err != nil {
		a.Fatal(err)
	}
	a.patiently("the new configuration answers", func() bool { return a.toGate("GET", "/api/a").StatusCode != 0 })
}
