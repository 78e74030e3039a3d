package issuer

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// approve presses the button of the review, with what the operator decided.
func (v *visitor) approve(a *Application, decided ...string) *shown {
	v.t.Helper()
	shown := v.get("/applications/" + a.Reference).form(pages.ActionApprove)
	fields := typed(append([]string{"name=" + a.Name}, decided...)...)
	for _, name := range []string{pages.FieldCSRF, pages.FieldTransaction, pages.FieldAction} {
		fields.Set(name, shown.fields.Get(name))
	}
	return v.post(shown.action, fields)
}

var service = []string{"client_type=confidential", "grant_type=client_credentials", "scopes=read", "resources=" + fixtureAPI}

// secretLinkOf returns the path of the link on the answer to an approval.
func secretLinkOf(t testing.TB, page *shown) string {
	t.Helper()
	_, rest, found := strings.Cut(page.Body.String(), fixtureURL+secretLinkPath)
	link, _, _ := strings.Cut(rest, "<")
	if !found {
		t.Fatalf("no link: %d %s", page.Code, page.Body)
	}
	return secretLinkPath + link
}

// TestApplicationToClient is the whole way: asked for, approved with adjustments,
// revealed once, used.
func TestApplicationToClient(t *testing.T) {
	f := newFixture(t, withApplications)
	f.visitor().apply(complete("scopes=everything")).expectStatus(303, "a request")
	a := f.applications()[0]
	operator := f.operator()

	o := f.signedIn(operator)
	if list := o.get("/applications").expectStatus(200, "an operator sees the list"); !strings.Contains(list.Body.String(), "/applications/"+a.Reference) {
		t.Errorf("the list lacks the request: %s", list.Body)
	}
	if account := o.get("/account"); !strings.Contains(account.Body.String(), `href="/applications"`) {
		t.Error("an operator's account does not lead to the list")
	}
	approved := o.approve(a, service...).expectStatus(200, "an approval")
	link := secretLinkOf(t, approved)
	all, err := f.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var made *clients.Client
	for _, client := range all {
		if client.Name == "Meter reader" {
			made = client
		}
	}
	if made == nil || made.Type != clients.Confidential || made.Scope.String() != "read" || len(made.Resources) != 1 || len(made.Secrets) != 0 {
		t.Fatalf("made %+v; want what the operator decided, and no secret before somebody is there to read it", made)
	}
	if again := o.get("/applications/" + a.Reference); strings.Contains(again.Body.String(), secretLinkPath) || again.has(pages.ActionApprove) {
		t.Error("the link is shown a second time, or the request can be answered again")
	}

	v := f.visitor()
	asked := v.get(link).expectStatus(200, "the link asks first")
	v.get(link).expectStatus(200, "opening the link uses nothing up")
	revealed := asked.press(pages.ActionReveal).expectStatus(200, "the secret is shown")
	secret := codeAfter(t, revealed, "client_secret")
	if id := codeAfter(t, revealed, "client_id"); id != made.ID {
		t.Errorf("client_id %s, want %s", id, made.ID)
	}
	expect(t, f.post("/token", ccGrant, withBasic(made.ID, secret)), 200, "")

	asked.press(pages.ActionReveal).expectStatus(410, "the same form twice")
	v.get(link).expectStatus(410, "a used link")
	if page := f.visitor().get(link); !strings.Contains(page.Body.String(), "Already used") || strings.Contains(page.Body.String(), secret) {
		t.Errorf("a used link says so and nothing else: %s", page.Body)
	}
	expect(t, f.post("/token", ccGrant, withBasic(made.ID, secret)), 200, "")

	for _, event := range []string{"application_requested", "application_approved", "application_secret_revealed", "application_secret_reused"} {
		lines := f.log.event(event)
		if len(lines) == 0 || lines[0]["reference"] != a.Reference || lines[0]["issuer"] != fixtureURL || lines[0]["remote_ip"] == nil {
			t.Errorf("audit %s: %v", event, lines)
		}
	}
	if by := f.log.event("application_approved")[0]["subject"]; by != operator.ID {
		t.Errorf("approved by %v", by)
	}
	for _, line := range f.log.lines() {
		if strings.Contains(line, secret) || strings.Contains(line, strings.TrimPrefix(link, secretLinkPath)) {
			t.Errorf("the log holds a secret or the link to it: %s", line)
		}
	}
}

// codeAfter returns the text of the code element that follows a label.
func codeAfter(t testing.TB, page *shown, label string) string {
	t.Helper()
	_, rest, _ := strings.Cut(page.Body.String(), "<dt>"+label+"</dt>")
	_, rest, _ = strings.Cut(rest, "<code>")
	text, _, found := strings.Cut(rest, "</code>")
	if !found || text == "" {
		t.Fatalf("no %s: %s", label, page.Body)
	}
	return text
}

// Operators alone answer: not when they sign in later, nor when they lose the
// role while the page is open.
func TestApplicationsAreForOperators(t *testing.T) {
	f := newFixture(t, withApplications)
	a := f.requested()
	paths := []string{"/applications", "/applications/" + a.Reference}

	alice := f.signedIn(f.person(users.User{Username: "alice"}))
	for _, path := range paths {
		alice.get(path).expectStatus(403, "a person without the role")
	}
	if strings.Contains(alice.get("/account").Body.String(), `href="/applications"`) {
		t.Error("the account of a person without the role leads to the list")
	}
	alice.post(paths[1], typed("action=approve")).expectStatus(403, "a person without the role")
	f.visitor().post(paths[1], typed("action=approve")).expectStatus(403, "a form from nobody")

	operator := f.operator()
	o := f.signedIn(operator)
	o.get("/applications/aaaaaaaaaa").expectStatus(404, "no such request")
	o.get("/applications/UPPER").expectStatus(404, "no reference")
	o.get("/applications/%0d%0aSet-Cookie:x").expectStatus(404, "no reference")
	review := o.get(paths[1]).expectStatus(200, "an operator")
	o.post(paths[1], typed("action=approve")).expectStatus(403, "a form without its token")
	other := f.requested()
	crossed := review.form(pages.ActionReject, pages.FieldReason, "no")
	o.post("/applications/"+other.Reference, crossed.fields).expectStatus(403, "the form of another request")

	f.change(operator, func(u *users.User) { u.Operator = false })
	review.press(pages.ActionReject, pages.FieldReason, "no").expectStatus(403, "a role that was taken away")
	f.change(operator, func(u *users.User) { u.Operator = true })
	s, err := f.signin.Session(o.request(http.MethodGet, "/applications", ""))
	if err != nil {
		t.Fatal(err)
	}
	f.change(operator, func(u *users.User) { u.Operator = false })
	made := newService("x")
	made.Type = clients.Confidential
	if _, err := f.rejectApplication(t.Context(), a.Reference, "no", s); !errors.Is(err, errNotOperator) {
		t.Errorf("a role that was taken away after the page was read: %v", err)
	}
	if _, err := f.approveApplication(t.Context(), a.Reference, made, s); !errors.Is(err, errNotOperator) {
		t.Errorf("a role that was taken away after the page was read: %v", err)
	}
	for _, a := range f.applications() {
		if a.Status != ApplicationPending {
			t.Errorf("answered nevertheless: %+v", a)
		}
	}
}

// Whoever is not signed in comes back to the page after signing in.
func TestSignInLeadsToApplications(t *testing.T) {
	f := newFixture(t, withApplications)
	a := f.requested()
	f.personWithPassword(users.User{Username: "alice", Operator: true}, alicePassword)
	for _, path := range []string{"/applications", "/applications/" + a.Reference} {
		v := f.visitor()
		login := v.get(path).expectPage(pages.ActionLogin, "nobody is signed in")
		signed := login.press(pages.ActionLogin, pages.FieldUsername, "alice", pages.FieldPassword, alicePassword)
		if location := signed.Header().Get("Location"); location != path {
			t.Errorf("%s: after the sign-in %q", path, location)
		}
		signed.follow().expectStatus(200, "signed in")
	}
}

// What an operator decides is held against what the issuer can do, field by
// field, before anything is made.
func TestApproveRefuses(t *testing.T) {
	f := newFixture(t, withApplications)
	a := f.requested()
	o := f.signedIn(f.operator())
	web := []string{"client_type=public", "grant_type=authorization_code", "redirect_uris=https://a.test/cb"}
	for what, decided := range map[string][]string{
		"no client type":                  {"grant_type=client_credentials"},
		"no grant type":                   {"client_type=confidential"},
		"a client type that there is not": {"client_type=root", "grant_type=client_credentials"},
		"a grant type that there is not":  {"client_type=confidential", "grant_type=password"},
		"a public client that has no secret (RFC 6749 section 4.4)": {"client_type=public", "grant_type=client_credentials"},
		"nowhere to be answered":                                    {"client_type=public", "grant_type=authorization_code"},
		"a redirect URI that is none":                               {"client_type=public", "grant_type=authorization_code", "redirect_uris=http://a.test/cb"},
		"a resource that is none":                                   append(web, "resources=the billing API"),
		"a scope that there is not":                                 append(web, "scopes=everything"),
		"no name":                                                   append(web, "name="),
	} {
		if what == "no name" {
			page := o.get("/applications/" + a.Reference).form(pages.ActionApprove)
			fields := typed(web...)
			for _, name := range []string{pages.FieldCSRF, pages.FieldAction} {
				fields.Set(name, page.fields.Get(name))
			}
			o.post(page.action, fields).expectStatus(400, what).expectPage(pages.ActionApprove, "the form is shown again")
			continue
		}
		o.approve(a, decided...).expectStatus(400, what).expectPage(pages.ActionApprove, "the form is shown again")
	}
	o.get("/applications/"+a.Reference).press(pages.ActionReject).expectStatus(400, "no reason")
	o.get("/applications/"+a.Reference).press(pages.ActionReject, pages.FieldReason, strings.Repeat("é", maxApplicationReason+1)).expectStatus(400, "a reason without end")
	o.get("/applications/"+a.Reference).press(pages.ActionApprove, pages.FieldAction, "dance").expectStatus(400, "no such button")

	for what, adjust := range map[string]clients.Metadata{
		"not sure of the type":   {GrantTypes: []string{"client_credentials"}},
		"not sure of the grants": {Type: clients.Confidential},
		"an unknown scope":       {Type: clients.Confidential, GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"root"}},
	} {
		var wrong *clientError
		if _, err := f.ApproveApplication(t.Context(), a.Reference, adjust); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", what, err)
		}
	}
	taken := clients.Metadata{ID: "svc", Type: clients.Confidential, GrantTypes: []string{"client_credentials"}}
	if _, err := f.ApproveApplication(t.Context(), a.Reference, taken); !errors.Is(err, clients.ErrExists) {
		t.Errorf("an id that is taken: %v", err)
	}
	if now := f.applications()[0]; now.Status != ApplicationPending {
		t.Errorf("answered nevertheless: %+v", now)
	}
	for _, none := range []string{"aaaaaaaaaa", "", "../x"} {
		if _, err := f.ApproveApplication(t.Context(), none, taken); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", none, err)
		}
		if _, err := f.RejectApplication(t.Context(), none, "no"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", none, err)
		}
	}
}

// The first answer counts, whoever gives the second, and whichever it is.
func TestApplicationIsAnsweredOnce(t *testing.T) {
	adjust := clients.Metadata{Type: clients.Confidential, GrantTypes: []string{"client_credentials"}}
	for _, first := range []ApplicationStatus{ApplicationApproved, ApplicationRejected} {
		f := newFixture(t, withApplications)
		a := f.requested()
		o := f.signedIn(f.operator())
		open := o.get("/applications/" + a.Reference)
		var err error
		if first == ApplicationApproved {
			_, err = f.ApproveApplication(t.Context(), a.Reference, adjust)
		} else {
			_, err = f.RejectApplication(t.Context(), a.Reference, "Not <b>here</b>.")
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ApproveApplication(t.Context(), a.Reference, adjust); !errors.Is(err, ErrApplicationAnswered) {
			t.Errorf("%s, then approve: %v", first, err)
		}
		if _, err := f.RejectApplication(t.Context(), a.Reference, "no"); !errors.Is(err, ErrApplicationAnswered) {
			t.Errorf("%s, then reject: %v", first, err)
		}
		open.press(pages.ActionReject, pages.FieldReason, "no").expectStatus(409, "a page that was open meanwhile")
		fields := typed(service...)
		fields.Set(pages.FieldName, "X")
		for _, name := range []string{pages.FieldCSRF, pages.FieldAction} {
			fields.Set(name, open.form(pages.ActionApprove).fields.Get(name))
		}
		o.post("/applications/"+a.Reference, fields).expectStatus(409, "a page that was open meanwhile")
		shown := o.get("/applications/"+a.Reference).expectStatus(200, "an answered request is shown")
		if shown.has(pages.ActionApprove) || shown.has(pages.ActionReject) {
			t.Errorf("%s: it can be answered again", first)
		}
		if first == ApplicationRejected && !strings.Contains(shown.Body.String(), "Not &lt;b&gt;here") {
			t.Error("the reason is not shown, or is markup")
		}
		if now := f.applications()[0]; now.Status != first || now.Answered.IsZero() {
			t.Errorf("%+v", now)
		}
	}
}

// Of operators who answer at once exactly one does, and there is one client or
// none.
func TestAnswerRace(t *testing.T) {
	for range 5 {
		f := newFixture(t, withApplications)
		a := f.requested()
		before, _ := f.Clients(t.Context())
		const racers = 6
		var won, approved atomic.Int32
		var wait sync.WaitGroup
		f.store.hold(racers)
		for n := range racers {
			wait.Go(func() {
				var err error
				if n%2 == 0 {
					_, err = f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{Type: clients.Confidential, GrantTypes: []string{"client_credentials"}})
				} else {
					_, err = f.RejectApplication(t.Context(), a.Reference, "no")
				}
				switch {
				case err == nil:
					won.Add(1)
					if n%2 == 0 {
						approved.Add(1)
					}
				case !errors.Is(err, ErrApplicationAnswered):
					t.Errorf("the loser: %v", err)
				}
			})
		}
		wait.Wait()
		after, _ := f.Clients(t.Context())
		if won.Load() != 1 || len(after)-len(before) != int(approved.Load()) {
			t.Fatalf("%d answers counted, %d approvals, %d clients", won.Load(), approved.Load(), len(after)-len(before))
		}
	}
}

// Of those who press the button at once one gets a secret, and it is the one
// that works.
func TestRevealRace(t *testing.T) {
	f := newFixture(t, withApplications)
	approval, err := f.ApproveApplication(t.Context(), f.requested(service[0], service[1]).Reference, clients.Metadata{ID: "made", Scope: oauth.Scope{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	const racers = 6
	forms := make([]*shown, racers)
	for n := range forms {
		forms[n] = f.visitor().get(strings.TrimPrefix(approval.SecretURL, fixtureURL))
	}
	var wait sync.WaitGroup
	var won atomic.Int32
	f.store.hold(racers)
	for _, form := range forms {
		wait.Go(func() {
			switch page := form.press(pages.ActionReveal); page.Code {
			case http.StatusOK:
				won.Add(1)
				expect(t, f.post("/token", ccGrant, withBasic("made", codeAfter(t, page, "client_secret"))), 200, "")
			case http.StatusGone:
			default:
				t.Errorf("the loser: %d", page.Code)
			}
		})
	}
	wait.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of %d saw a secret", won.Load(), racers)
	}
}

func TestSecretLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withApplications)
		approve := func(id, clientType, grantType string) string {
			t.Helper()
			approval, err := f.ApproveApplication(t.Context(), f.requested().Reference, clients.Metadata{
				ID: id, Type: clientType, GrantTypes: []string{grantType}, RedirectURIs: []string{"https://a.test/cb"}, Scope: oauth.Scope{"read"}})
			if err != nil {
				t.Fatal(err)
			}
			if u, err := url.Parse(approval.SecretURL); err != nil || len(u.Query()) != 1 {
				t.Fatalf("%s: %v", approval.SecretURL, err)
			}
			return strings.TrimPrefix(approval.SecretURL, fixtureURL)
		}
		v := f.visitor()
		for what, link := range map[string]string{
			"none": secretLinkPath, "an empty one": secretLinkPath + "?link=", "one made up": secretLinkPath + "?link=" + record.NewHandle(), "no handle": secretLinkPath + "?link=x",
		} {
			v.get(link).expectStatus(404, what)
		}

		public := v.get(approve("spa2", clients.Public, oauth.GrantAuthorizationCode)).press(pages.ActionReveal).expectStatus(200, "a public client has an id to read")
		if strings.Contains(public.Body.String(), "<dt>client_secret</dt>") || codeAfter(t, public, "client_id") != "spa2" {
			t.Errorf("a public client has no secret: %s", public.Body)
		}

		link := approve("late", clients.Confidential, "client_credentials")
		open := v.get(link).expectStatus(200, "a link")
		bound := open.form(pages.ActionReveal)
		f.visitor().post(bound.action, bound.fields).expectStatus(403, "another browser's form")
		v.post(bound.action, typed("action=reveal", "transaction="+bound.fields.Get("transaction"))).expectStatus(403, "a form without its token")
		open.press(pages.ActionReveal, pages.FieldAction, "dance").expectStatus(400, "no such button")
		f.store.fail(storage.ErrUnavailable)
		open.press(pages.ActionReveal).expectStatus(503, "cannot tell is not used")
		f.store.recover()

		// An operator who gives the client a secret meanwhile has closed the link: it
		// may be why they did.
		rotated, err := f.RotateSecret(t.Context(), "late", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		open.press(pages.ActionReveal).expectStatus(410, "the client has a secret already")
		expect(t, f.post("/token", ccGrant, withBasic("late", rotated)), 200, "")

		expired := approve("expired", clients.Confidential, "client_credentials")
		time.Sleep(secretLinkLifetime - time.Second)
		form := v.get(expired).expectStatus(200, "within seven days")
		time.Sleep(2 * time.Second)
		form.press(pages.ActionReveal).expectStatus(404, "after seven days")
		v.get(expired).expectStatus(404, "after seven days")

		// The link is for the client that was approved, not for the next one with
		// its id.
		removed := approve("removed", clients.Confidential, "client_credentials")
		if err := f.RemoveClient(t.Context(), "removed"); err != nil {
			t.Fatal(err)
		}
		v.get(removed).expectStatus(410, "a client that is gone")
		time.Sleep(time.Minute)
		as := f.add("removed")
		v.get(removed).expectStatus(410, "another client with the same id")
		expect(t, f.post("/token", ccGrant, as), 200, "")

		// Links that were handed out outlive the option.
		kept := approve("kept", clients.Confidential, "client_credentials")
		f.config.Applications = false
		f.restart()
		v.get(kept).press(pages.ActionReveal).expectStatus(200, "applications are off, the link is not")
	})
}
