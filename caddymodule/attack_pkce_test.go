package caddymodule

import (
	"regexp"
	"strings"
)

// pkceAttack finds the code of an entry about PKCE (RFC 7636).
func pkceAttack(a attack) attackCode {
	if code := pkceAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^code_challenge_method='(.*)'$`).FindStringSubmatch(a.Title); found != nil {
		return badChallenge("code_challenge_method=" + found[1])
	}
	return nil
}

// pkceClients are a confidential client and a public one: neither may do without.
var pkceClients = []string{"web", "spa"}

// badChallenge: an authorization request whose challenge is not one of S256. Each
// change is a request of its own.
func badChallenge(changes ...string) attackCode {
	return func(a *attempt) {
		for _, client := range pkceClients {
			v := a.visitor("alice").signedIn()
			for _, change := range changes {
				a.judge(v.do("GET", "/authorize?"+authorizationRequest(client, change).Encode(), ""))
			}
		}
	}
}

// badVerifier: the code was given for the challenge of one verifier, and another
// is sent. What is sent in place of the good one is in changes.
func badVerifier(challenge string, changes ...string) attackCode {
	return func(a *attempt) {
		for _, client := range pkceClients {
			code := a.visitor("alice").code(client, "code_challenge="+challenge)
			a.judge(a.redeem(client, code, changes...))
		}
	}
}

// unfitVerifier: a verifier that RFC 7636 §4.1 does not allow, though its hash is
// the challenge.
func unfitVerifier(verifiers ...string) attackCode {
	return func(a *attempt) {
		for _, verifier := range verifiers {
			badVerifier(challengeOf(verifier), "code_verifier="+verifier)(a)
		}
	}
}

var pkceAttacks = map[string]attackCode{
	"IP-003": badChallenge("-code_challenge_method"),
	"IP-009": badChallenge("code_challenge=" + challengeOf(attackVerifier)[:42]),
	"IP-010": badChallenge("code_challenge=" + challengeOf(attackVerifier) + "="),
	"IP-012": badChallenge("code_challenge=" + otherLastLetter(challengeOf(attackVerifier), urlLetters)),
	"IP-014": badChallenge(
		"code_challenge="+challengeOf(attackVerifier)[:42]+" ", "code_challenge="+challengeOf(attackVerifier)+"\n",
		"code_challenge= "+challengeOf(attackVerifier)[1:], "code_challenge="+challengeOf(attackVerifier)[:20]+"\r\n"+challengeOf(attackVerifier)[20:]),
	"IP-015": badChallenge("code_challenge="),

	"IP-017": badVerifier(challengeOf(attackVerifier), "code_verifier="),
	"IP-018": badVerifier(challengeOf(attackVerifier), "code_verifier="+strings.Repeat("another-verifier.", 4)[:43]),
	"IP-019": badVerifier(challengeOf(attackVerifier), "code_verifier="+challengeOf(attackVerifier)),
	"IP-020": unfitVerifier(strings.Repeat("v", 42)),
	"IP-021": unfitVerifier(strings.Repeat("v", 129)),
	"IP-022": unfitVerifier(
		attackVerifier+" ", " "+attackVerifier, attackVerifier+"/", attackVerifier+"é", attackVerifier+"+", attackVerifier+"=", attackVerifier+"%"),
	"IP-023": func(a *attempt) {
		unfitVerifier(attackVerifier+"\n", attackVerifier+"\r\n")(a)
		badVerifier(challengeOf(attackVerifier), "code_verifier="+attackVerifier+"\n")(a)
	},
	"IP-024": func(a *attempt) {
		unfitVerifier(attackVerifier + "\x00")(a)
		badVerifier(challengeOf(attackVerifier), "code_verifier="+attackVerifier+"\x00")(a)
	},
	"IP-026": downgradedPKCE,
	"IP-027": func(a *attempt) {
		for _, order := range [][2]string{{attackVerifier, "bad"}, {"bad", attackVerifier}, {attackVerifier, attackVerifier}} {
			code := a.visitor("alice").code("web")
			a.judge(a.redeem("web", code, "code_verifier="+order[0], "code_verifier="+order[1]))
		}
	},
}

// downgradedPKCE: a challenge belongs to its code and to no other of the session.
// Where PKCE is optional, a code without a challenge is not good with a verifier:
// the client that sends one has sent a challenge, and somebody took it away.
func downgradedPKCE(a *attempt) {
	v := a.visitor("alice")
	guarded := v.code("web")
	without := v.authorize(authorizationRequest("web", "-code_challenge", "-code_challenge_method"))
	if without.Has("code") || without.Get("error") != "invalid_request" {
		a.Errorf("a request without a challenge brought back %v", without)
	}
	a.judge(a.redeem("web", guarded, "-code_verifier"))

	legacy, secret := a.register(map[string]any{
		"grant_types": []string{"authorization_code"}, "redirect_uris": []string{"https://app.test/cb"}, "scope": "openid read", "pkce_optional": true,
	})
	code := v.code(legacy, "-code_challenge", "-code_challenge_method")
	a.judge(a.redeem("", code, "client_id="+legacy, "client_secret="+secret))
}
