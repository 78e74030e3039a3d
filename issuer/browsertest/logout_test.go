package browsertest

import (
	"net/url"
	"testing"
)

// RP-Initiated Logout §2: without a hint the person is asked; §3: afterwards they go back to the client, with its state.
func TestLogout(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	b := open(t).visit(app.request()).login(ada, adaPassword).action("allow").await("#answer")
	token := app.redeem()
	back := url.Values{"client_id": {app.oauth.ClientID}, "post_logout_redirect_uri": {app.URL + "/signed-out"}, "state": {"bye"}}

	b.visit(server.URL() + "/end-session?" + back.Encode()).heading("Sign out?")
	b.action("stay").heading("Your account")

	b.visit(server.URL() + "/end-session?" + back.Encode()).heading("Sign out?")
	b.action("logout").await("#answer")
	if got := evaluate[string](b, "location.href"); got != app.URL+"/signed-out?state=bye" {
		t.Errorf("the browser is at %s", got)
	}
	b.visit(server.URL() + "/account").heading("Sign in")

	// With a hint that fits whoever is signed in, nobody is asked.
	b.login(ada, adaPassword).heading("Your account")
	hint := url.Values{"id_token_hint": {token.Extra("id_token").(string)}}
	b.visit(server.URL() + "/end-session?" + hint.Encode()).heading("You are signed out")
	b.press(".button").heading("Sign in")
}

// Who is not signed in is not asked whether to sign out.
func TestLogoutOfNobody(t *testing.T) {
	t.Parallel()
	server, _ := newIssuer(t)
	open(t).visit(server.URL() + "/end-session").answered(200).heading("You are signed out")
}
