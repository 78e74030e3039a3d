package caddymodule

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// deviceAttack finds the code of an entry about the device flow (RFC 8628).
func deviceAttack(a attack) attackCode {
	if code := deviceAttacks[a.ID]; code != nil {
		return code
	}
	if described, ok := strings.CutPrefix(a.Title, "user_code entered "); ok {
		if spell := typedCodes[described]; spell != nil {
			return typedCode(spell)
		}
	}
	return nil
}

// enter types a user code into the page where a device's owner begins.
func (v *visitor) enter(userCode string) exchange {
	v.a.Helper()
	v.open("/device")
	return v.press("continue", "user_code", userCode)
}

// decides enters a code and agrees, signing in where asked.
func (v *visitor) decides(userCode, action string) exchange {
	v.a.Helper()
	v.enter(userCode)
	if v.shows("login") {
		v.signIn()
	}
	return v.press(action)
}

// approvedDevice is a device code to which somebody has agreed.
func (a *attempt) approvedDevice(client, name string) string {
	a.Helper()
	device := a.deviceRequest(client)
	a.must(a.visitor(name).decides(device.member(a.T, "user_code"), "allow"))
	return device.member(a.T, "device_code")
}

// pending judges that nobody has decided about a device.
func (a *attempt) pending(client, deviceCode string) {
	a.Helper()
	if e := a.poll(client, deviceCode); e.errorCode() != "authorization_pending" && e.errorCode() != "slow_down" {
		a.Errorf("the device is told %d %s", e.StatusCode, e.body)
	}
}

// typedCodes are ways to type a code, and whether it is the code then.
var typedCodes = map[string]func(code string) (typed []string, same bool){
	"without dash": func(code string) ([]string, bool) {
		return []string{strings.ReplaceAll(code, "-", ""), strings.ToLower(code), strings.ToLower(strings.ReplaceAll(code, "-", "")), "-" + code + "--"}, true
	},
	"with spaces": func(code string) ([]string, bool) {
		return []string{" " + code + " ", strings.ReplaceAll(code, "-", " "), strings.Join(strings.Split(code, ""), " ")}, true
	},
	"with look-alikes 0/O, 1/I": func(code string) ([]string, bool) {
		return []string{"0" + code[1:], "1" + code[1:], "O" + code[1:], code[:len(code)-1] + "I"}, false
	},
	"full-width letters": func(code string) ([]string, bool) {
		return []string{shifted(code, 'Ａ'-'A'), shifted(code[:1], 'Ａ'-'A') + code[1:]}, false
	},
	// None of the letters of a code has a double in the same place of another
	// alphabet, but each can be written with one that looks alike.
	"Cyrillic look-alikes": func(code string) ([]string, bool) {
		return []string{"В" + code[1:], code[:1] + "Н" + code[2:], code + "\u0301", code + "\u200b", "К" + code[1:]}, false
	},
	"64 KiB": func(code string) ([]string, bool) {
		return []string{strings.Repeat("B", 60<<10), code + strings.Repeat("-", 60<<10), strings.Repeat(" ", 33) + code}, false
	},
}

// shifted moves the letters A to Z elsewhere.
func shifted(text string, by rune) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + by
		}
		return r
	}, text)
}

// typedCode: what is the code is taken for it, and what is not is one wrong guess.
func typedCode(spell func(code string) ([]string, bool)) attackCode {
	return func(a *attempt) {
		device := a.deviceRequest("dev")
		v := a.visitor("alice").signedIn()
		typed, same := spell(device.member(a.T, "user_code"))
		for _, text := range typed {
			a.judge(v.enter(text))
			if v.shows("allow") != same {
				a.Errorf("%.40q: the page asks: %t", text, v.shows("allow"))
			}
		}
		a.pending("dev", device.member(a.T, "device_code"))
		guesses := 0
		for ; v.shown.StatusCode != 429 && guesses < 20; guesses++ {
			v.enter("BBBB-BBBB")
		}
		// Ten guesses are free: those that were wrong before are among them.
		want := 11
		if !same {
			want -= len(typed)
		}
		if guesses != want {
			a.Errorf("after that, the guess %d was one too many, want %d", guesses, want)
		}
	}
}

var deviceAttacks = map[string]attackCode{
	"ID-002": func(a *attempt) {
		device := a.deviceRequest("dev").member(a.T, "device_code")
		if e := a.poll("dev", device); e.errorCode() != "authorization_pending" {
			a.Errorf("the first poll: %s", e.body)
		}
		a.judge(a.poll("dev", device), a.poll("dev", device))
		a.judgeDescription(a.exchanges[0])
		contains(a.T, a.exchanges[0].body, "5 seconds longer") // TestDevicePace in package issuer waits for it
	},
	"ID-005": func(a *attempt) {
		device := a.approvedDevice("dev", "alice")
		var successes atomic.Int64
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				e := a.poll("dev", device)
				if e.StatusCode == 200 {
					successes.Add(1)
				} else if code := e.errorCode(); code != "slow_down" && code != "invalid_grant" {
					a.Errorf("answered with %s", e.body)
				}
				mu.Lock()
				defer mu.Unlock()
				a.judge(e)
			})
		}
		all.Wait()
		a.measured["successes"] = float64(successes.Load())
	},
	"ID-006": func(a *attempt) {
		device := a.approvedDevice("dev", "alice")
		a.judge(a.poll("devconf", device))
		confidential := a.approvedDevice("devconf", "alice")
		a.judge(a.poll("dev", confidential))
		a.must(a.poll("dev", device))
		a.must(a.poll("devconf", confidential))
	},
	"ID-007": func(a *attempt) {
		denied := a.deviceRequest("dev")
		a.must(a.visitor("alice").decides(denied.member(a.T, "user_code"), "deny"))
		consumed := a.approvedDevice("dev", "alice")
		a.must(a.poll("dev", consumed))
		for _, poll := range []struct{ deviceCode, want string }{{denied.member(a.T, "device_code"), "access_denied"}, {consumed, "invalid_grant"}} {
			e := a.poll("dev", poll.deviceCode)
			a.judge(e)
			if e.errorCode() != poll.want {
				a.Errorf("%s, want %s", e.errorCode(), poll.want)
			}
		}
	},
	"ID-010": func(a *attempt) {
		a.addPerson("gone", false)
		device := a.approvedDevice("dev", "gone")
		a.adminCall("DELETE", "/oauth/users/gone", nil).want(a.T, 200)
		a.judge(a.poll("dev", device))
		a.addPerson("locked", false)
		locked := a.approvedDevice("dev", "locked")
		a.adminCall("POST", "/oauth/users/locked/set-password", map[string]string{"password": canary + " another staple"}).want(a.T, 200)
		a.judge(a.poll("dev", locked))
	},
	"ID-012": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		for range 9 {
			v.enter("BBBB-BBBB")
		}
		v.enter(a.deviceRequest("dev").member(a.T, "user_code"))
		if !v.shows("allow") {
			a.Errorf("one's own code: %d", v.shown.StatusCode)
		}
		for range 9 {
			a.judge(v.enter("BBBB-BBBB"))
		}
		if last := a.exchanges[len(a.exchanges)-1]; last.StatusCode != 429 || last.Header.Get("Retry-After") == "" {
			a.Errorf("the eighteenth guess: %d, Retry-After %q", last.StatusCode, last.Header.Get("Retry-After"))
		}
		// Nor does a right code get through then.
		if v.enter(a.deviceRequest("dev").member(a.T, "user_code")); v.shows("allow") {
			a.Error("whoever guesses too often is told of a right code")
		}
	},
	"ID-021": func(a *attempt) {
		device := a.deviceRequest("dev")
		v := a.visitor("alice").signedIn()
		link, err := url.Parse(device.member(a.T, "verification_uri_complete"))
		if err != nil {
			a.Fatal(err)
		}
		a.judge(v.open(link.RequestURI()), v.do("GET", link.RequestURI()+"&action=allow&action=continue", ""))
		a.measured["approved_by_get"] = 0
		if a.poll("dev", device.member(a.T, "device_code")).StatusCode == 200 {
			a.measured["approved_by_get"] = 1
		}
		v.open(link.RequestURI())
		a.judge(v.press("continue"))
		contains(a.T, v.shown.body, "The television", device.member(a.T, "user_code"), "Read")
		_, form := v.form("allow")
		a.judge(v.do("GET", "/device?"+form.Encode(), ""))
		a.pending("dev", device.member(a.T, "device_code"))
	},
	"ID-022": func(a *attempt) {
		v := a.visitor("alice").signedIn()
		for _, code := range []string{`"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `javascript:alert(1)`, "{{.}}", `</title><script>alert(1)</script>`} {
			a.judge(v.open("/device?user_code=" + url.QueryEscape(code)))
			a.judge(v.press("continue", "user_code", code))
		}
	},
	"ID-023": forgedApproval,
	"ID-025": func(a *attempt) {
		for _, decisions := range [][2]string{{"allow", "allow"}, {"allow", "deny"}, {"deny", "allow"}} {
			device := a.deviceRequest("dev")
			v := a.visitor("alice").signedIn()
			v.enter(device.member(a.T, "user_code"))
			target, first := v.form(decisions[0])
			second := changedForm(url.Values{}, "action="+decisions[1])
			for name, values := range first {
				if name != "action" {
					second[name] = values
				}
			}
			a.must(v.submit(target, first))
			again := v.submit(target, second)
			a.judge(again)
			if again.StatusCode != 400 {
				a.Errorf("%v: the second decision: %d", decisions, again.StatusCode)
			}
			e := a.poll("dev", device.member(a.T, "device_code"))
			if (e.StatusCode == 200) != (decisions[0] == "allow") {
				a.Errorf("%v: the device is told %d %s", decisions, e.StatusCode, e.errorCode())
			}
			a.judge(v.submit(target, second)) // redeemed, or denied and told so
		}
	},
	"ID-028": func(a *attempt) {
		for _, form := range []url.Values{{"client_id": {"devconf"}}, {"client_id": {"devconf"}, "client_secret": {""}}, {"client_id": {"devconf"}, "client_secret": {"wrong"}}, {}} {
			a.judge(a.post("/device-authorization", form))
		}
		device := a.approvedDevice("devconf", "alice")
		a.judge(a.post("/token", url.Values{"grant_type": {deviceGrant}, "device_code": {device}, "client_id": {"devconf"}}))
	},
	"ID-029": func(a *attempt) { a.judge(a.toIssuer("GET", "/device-authorization?client_id=dev", "")) },
	"ID-032": func(a *attempt) {
		form := "client_id=dev&scope=read"
		for _, lines := range [][]string{
			{"Host: evil.test"}, {"Host: as.test", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: http"}, {"Host: as.test", "Forwarded: host=evil.test;proto=http"},
			{"Host: as.test", "X-Forwarded-Prefix: /evil", "X-Original-URL: https://evil.test/"},
		} {
			e := a.wire(a.issuer, requestHead("POST", "/device-authorization", append(lines, formType, contentLength(form))...)+form, 1)[0]
			a.judge(e)
			contains(a.T, e.body, `"verification_uri":"https://as.test/device"`, `"verification_uri_complete":"https://as.test/device?`)
		}
	},
}

// forgedApproval: a page of somebody else cannot agree for a person who is signed
// in, whatever it sends.
func forgedApproval(a *attempt) {
	device := a.deviceRequest("dev")
	v := a.visitor("alice").signedIn()
	v.enter(device.member(a.T, "user_code"))
	target, form := v.form("allow")

	stranger := a.visitor("bob").signedIn()
	stranger.enter(device.member(a.T, "user_code"))
	_, foreign := stranger.form("allow")

	own := []string{formType, "Origin: " + siteURL, "Sec-Fetch-Site: same-origin"}
	evil := []string{formType, "Origin: https://evil.test", "Sec-Fetch-Site: cross-site"}
	send := func(form url.Values, lines []string, changes ...string) {
		copied := make(url.Values)
		for name, values := range form {
			copied[name] = values
		}
		a.judge(v.do("POST", target, changedForm(copied, changes...).Encode(), lines...))
	}
	send(form, evil)
	send(form, []string{formType, "Origin: null"})
	send(form, []string{formType, "Origin: https://sub.as.test", "Sec-Fetch-Site: same-site"})
	send(form, own, "-csrf_token")
	send(form, own, "csrf_token="+foreign.Get("csrf_token"))
	send(foreign, own)
	send(form, own, "transaction="+foreign.Get("transaction"))
	send(form, own, "-transaction")
	a.pending("dev", device.member(a.T, "device_code"))
	a.must(v.submit(target, form))
}
