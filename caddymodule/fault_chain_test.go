package caddymodule

import (
	"net/http"
	"net/url"
)

// artefact is what is exchanged for tokens, once: a code, a device code or a
// refresh token.
type artefact struct{ grant, value string }

func (a artefact) form() url.Values {
	switch a.grant {
	case "authorization_code":
		form, _ := url.ParseQuery(redeemForm(a.value))
		return form
	case "refresh_token":
		return url.Values{"grant_type": {a.grant}, "refresh_token": {a.value}}
	default:
		return url.Values{"grant_type": {a.grant}, "device_code": {a.value}}
	}
}

// chain is what the client of one authorization has been told, and what it asked
// for without hearing an answer. It is the ledger by which the server is judged
// after a fault.
type chain struct {
	spent   []artefact // exchanged, and answered for
	refresh string     // the newest refresh token
	access  []string
	ended   string // the access token that was revoked, or "all"

	doubt    *artefact // presented without an answer: spent or not
	doubtful bool      // a revocation had no answer: in force or not
	wrong    bool      // something was answered wrongly, and said so
}

// exchange presents an artefact. It returns false where the chain goes no further.
func (s *faultSite) exchange(c *chain, a artefact) bool {
	e, err := s.post("/token", a.form())
	switch {
	case err != nil, e.StatusCode == http.StatusServiceUnavailable:
		c.doubt = &a
		return false
	case e.StatusCode != http.StatusOK:
		s.t.Errorf("%s: %d %s", a.grant, e.StatusCode, e.body)
		c.wrong = true
		return false
	}
	c.spent, c.access, c.refresh = append(c.spent, a), append(c.access, e.member(s.t, "access_token")), e.member(s.t, "refresh_token")
	s.acknowledged.Add(1)
	return true
}

// revoke takes back the newest access token, or with the refresh token everything.
func (s *faultSite) revoke(c *chain, all bool) bool {
	token := c.access[len(c.access)-1]
	if all {
		token = c.refresh
	}
	e, err := s.post("/revoke", url.Values{"token": {token}})
	switch {
	case err != nil, e.StatusCode == http.StatusServiceUnavailable:
		c.doubtful = true
		return false
	case e.StatusCode != http.StatusOK:
		s.t.Errorf("revocation: %d %s", e.StatusCode, e.body)
		c.wrong = true
		return false
	}
	if c.ended = token; all {
		c.ended = "all"
	}
	s.acknowledged.Add(1)
	return true
}

// begin exchanges an artefact, and then refresh tokens some times.
func (s *faultSite) begin(a artefact, refreshes int) *chain {
	c := new(chain)
	for on := s.exchange(c, a); on && refreshes > 0; refreshes-- {
		on = s.exchange(c, artefact{"refresh_token", c.refresh})
	}
	return c
}

// judge holds a chain against what the server does after the fault. It uses the
// chain up: at its end every token of it has been replayed.
func (s *faultSite) judge(c *chain) {
	if c.wrong {
		return
	}
	switch {
	case c.doubtful: // in force or not
	case c.ended == "all":
		s.mustBe(http.StatusUnauthorized, c.access...)
		s.mustBeSpent(artefact{"refresh_token", c.refresh})
	case c.doubt != nil:
		s.onceAtMost(*c.doubt)
	default:
		s.mustHold(c)
	}
	for _, a := range c.spent {
		s.mustBeSpent(a)
	}
}

// mustHold: what was acknowledged last is good, but for what was revoked.
func (s *faultSite) mustHold(c *chain) {
	if c.refresh == "" {
		return // nothing was acknowledged
	}
	for _, token := range c.access {
		if token == c.ended {
			s.mustBe(http.StatusUnauthorized, token)
		} else {
			s.mustBe(http.StatusOK, token)
		}
	}
	last := artefact{"refresh_token", c.refresh}
	if e := s.present(last); e != http.StatusOK {
		s.lost.Add(1)
		s.t.Errorf("an acknowledged %s is lost: %d", last.grant, e)
		return
	}
	c.spent = append(c.spent, last)
}

func (s *faultSite) mustBe(status int, tokens ...string) {
	for _, token := range tokens {
		if got := s.gate(s.node(), token); got != status {
			s.lost.Add(1)
			s.t.Errorf("a token: status %d at the gate, want %d", got, status)
		}
	}
}

func (s *faultSite) mustBeSpent(a artefact) {
	if e := s.present(a); e != http.StatusBadRequest {
		s.double.Add(1)
		s.t.Errorf("a %s that was exchanged, or ended, is presented again: %d", a.grant, e)
	}
}

// onceAtMost: what had no answer may have been exchanged, or may be exchanged now.
func (s *faultSite) onceAtMost(a artefact) {
	first, second := s.present(a), s.present(a)
	if second != http.StatusBadRequest {
		s.double.Add(1)
		s.t.Errorf("a %s without an answer is accepted again and again: %d, %d", a.grant, first, second)
	}
	if first != http.StatusOK && first != http.StatusBadRequest {
		s.lost.Add(1)
		s.t.Errorf("a %s without an answer: %d", a.grant, first)
	}
}

func (s *faultSite) present(a artefact) int {
	e, err := s.post("/token", a.form())
	if err != nil {
		s.t.Error(err)
		return 0
	}
	return e.StatusCode
}
