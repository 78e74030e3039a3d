package browsertest

import (
	"net/http"
	"testing"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	server, _ := newIssuer(t)
	here, there := open(t), open(t)
	here.visit(server.URL()+"/account").login(ada, adaPassword).heading("Your account")
	there.visit(server.URL()+"/account").login(ada, adaPassword).heading("Your account")

	here.visit(server.URL() + "/account")
	if n := evaluate[int](here, "document.querySelectorAll('[aria-labelledby=sessions] li').length"); n != 2 {
		t.Errorf("%d sessions are shown, want 2", n)
	}
	here.action("end-session").await("[role=status]")
	there.visit(server.URL() + "/account").heading("Sign in")

	there.login(ada, adaPassword).heading("Your account")
	here.visit(server.URL() + "/account").action("end-other-sessions").await("[role=status]")
	there.visit(server.URL() + "/account").heading("Sign in")

	here.visit(server.URL() + "/account").action("logout").answered(200).heading("You are signed out")
	here.visit(server.URL() + "/account").heading("Sign in")
}

// Disconnecting takes back what was agreed to, and every token at once.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	server, app := newIssuer(t)
	app.oauth.Scopes = append(app.oauth.Scopes, "offline_access")
	b := open(t).visit(app.request()).login(ada, adaPassword).action("allow").await("#answer")
	token := app.redeem()
	if token.RefreshToken == "" {
		t.Error("offline_access gave no refresh token")
	}
	b.visit(server.URL() + "/account")
	if got := b.text("[aria-labelledby=connections] .client-name"); got != clientName {
		t.Errorf("connected: %q", got)
	}
	b.action("disconnect").await("[role=status]").await("[aria-labelledby=connections] .empty")
	if _, status := app.userinfo(token); status != http.StatusUnauthorized {
		t.Errorf("a token of an application that was disconnected: status %d", status)
	}
	b.visit(app.request()).await(`form[action="/consent"]`)
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	server, _ := newIssuer(t)
	const newPassword = "the engine weaves patterns"
	here, there := open(t), open(t)
	here.visit(server.URL()+"/account").login(ada, adaPassword)
	there.visit(server.URL()+"/account").login(ada, adaPassword).heading("Your account")

	change := func(current, next string) *tab {
		return here.fill("#password", current).fill("#new-password", next).action("change-password")
	}
	change("not the password", newPassword).answered(400).await("[role=alert]")
	change(adaPassword, "password123").answered(400).await("[role=alert]")
	change(adaPassword, newPassword).answered(200).await("[role=status]").heading("Your account")

	there.visit(server.URL() + "/account").heading("Sign in")
	there.login(ada, adaPassword).answered(401)
	there.login(ada, newPassword).heading("Your account")
}
