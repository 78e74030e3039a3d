package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// withApproval lets clients register, and operators decide about each.
func withApproval(c *Config) {
	withRegistration(RegistrationByApproval)(c)
	c.Applications = true
}

// waiting is a client that waits for approval, and the request about it.
func (f *fixture) waiting(body string) (*registered, *Application) {
	f.t.Helper()
	c := f.selfRegistered(body)
	for _, a := range f.applications() {
		if a.ClientID == c.ID {
			return c, a
		}
	}
	f.t.Fatal("no request is in the queue")
	return nil, nil
}

// noneOf: nothing is stored of a client.
func (f *fixture) noneOf(c *registered) {
	f.t.Helper()
	err := f.store.View(f.t.Context(), func(tx storage.Tx) error {
		for _, kind := range []string{kindClient, kindUnused} {
			if _, err := tx.Get(kind, clientKey(fixtureURL, c.ID)); !errors.Is(err, storage.ErrNotFound) {
				f.t.Errorf("%s is left: %v", kind, err)
			}
		}
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
}

// pending counts the index of requests to answer.
func (f *fixture) pending() (n int) {
	f.t.Helper()
	err := f.store.View(f.t.Context(), func(tx storage.Tx) error {
		n = 0
		return tx.List(kindApplicationPending, applicationKey(fixtureURL, ""), func(string, []byte) error { n++; return nil })
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// RFC 7591 §3.2.1: the answer has the credentials, whatever they open; until an
// operator has decided they open nothing.
func TestRegisterByApproval(t *testing.T) {
	var announced []Application
	f := newFixture(t, withApproval, func(c *Config) {
		c.OnApplication = func(_ context.Context, a Application) { announced = append(announced, a) }
	})
	c, a := f.waiting(`{"redirect_uris":["https://app.test/cb"],"client_name":"Self","grant_types":["authorization_code","refresh_token","` + oauth.GrantDeviceCode + `"]}`)
	if a.Status != ApplicationPending || !a.Registered || a.Name != "Self" || a.ClientType != clients.Confidential || !slices.Equal(a.RedirectURIs, c.RedirectURIs) ||
		!slices.Equal(a.GrantTypes, c.GrantTypes) || oauth.Scope(a.Scopes).String() != c.Scope || a.Address != "192.0.2.1" {
		t.Errorf("the request %+v is not what was registered: %+v", a, c)
	}
	if lines := f.log.event("application_requested"); len(lines) != 1 || lines[0]["reference"] != a.Reference || len(announced) != 1 || announced[0].ClientID != c.ID {
		t.Errorf("audit %v, announced %+v", lines, announced)
	}
	for name, send := range map[string]func() *httptest.ResponseRecorder{
		"token": func() *httptest.ResponseRecorder {
			return f.post("/token", "grant_type=authorization_code&code=x", c.as())
		},
		"device":        func() *httptest.ResponseRecorder { return f.post("/device-authorization", "scope=openid", c.as()) },
		"introspection": func() *httptest.ResponseRecorder { return f.post("/introspect", "token=x", c.as()) },
		"revocation":    func() *httptest.ResponseRecorder { return f.post("/revoke", "token=x", c.as()) },
	} {
		t.Run(name, func(t *testing.T) { expect(t, send(), 401, oauth.InvalidClient) })
	}
	v := f.signedIn(f.person(fixtureProfile))
	v.authorize(authorization("client_id", c.ID, "scope", "openid")).expectStatus(400, "a client that waits gets no answer")
	f.unknown(c.Secret, c.AccessToken)
	f.restart()
	expect(t, f.post("/token", "grant_type=authorization_code&code=x", c.as()), 401, oauth.InvalidClient)
}

// An approval enables the client that there is: what the operator decided, and
// the credentials that the client has.
func TestApproveRegistered(t *testing.T) {
	for name, approve := range map[string]func(*fixture, *Application){
		"at the admin API": func(f *fixture, a *Application) {
			approval, err := f.ApproveApplication(f.t.Context(), a.Reference, clients.Metadata{Name: "Known", Scope: oauth.Scope{"openid"}})
			if err != nil {
				f.t.Fatal(err)
			}
			if approval.SecretURL != "" || !approval.SecretExpiry.IsZero() || approval.Client.ID != a.ClientID {
				f.t.Errorf("approval %+v", approval)
			}
		},
		"on the page": func(f *fixture, a *Application) {
			o := f.signedIn(f.operator())
			page := o.get("/applications/" + a.Reference)
			for range 2 { // the second time after a mistake
				text := page.Body.String()
				if strings.Contains(text, `name="contact"`) || strings.Contains(text, `name="description"`) || !strings.Contains(text, a.ClientID) || !strings.Contains(text, "https://app.test/cb") {
					f.t.Error("the page does not tell what the request is, or asks for what nobody knows")
				}
				page = page.press(pages.ActionApprove, pages.FieldName, "", pages.FieldRedirectURIs, "https://app.test/cb").expectStatus(400, "no name")
			}
			page.press(pages.ActionApprove, pages.FieldName, "Known", pages.FieldScopes, "openid", pages.FieldRedirectURIs, "https://app.test/cb",
				pages.FieldGrantType, oauth.GrantAuthorizationCode).expectStatus(200, "an approval")
			if again := o.get("/applications/" + a.Reference); strings.Contains(again.Body.String(), secretLinkPath) || again.has(pages.ActionApprove) {
				f.t.Error("a link to a secret, or another answer, is offered")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, withApproval)
				c, a := f.waiting(with(`"post_logout_redirect_uris":["https://app.test/bye"]`))
				before, _ := f.Clients(t.Context())
				approve(f, a)
				after, _ := f.Clients(t.Context())
				client, err := f.Client(t.Context(), c.ID)
				if err != nil || client.Disabled || client.Name != "Known" || client.Scope.String() != "openid" || len(after) != len(before) {
					t.Fatalf("%d clients, %d before; %+v, %v", len(after), len(before), client, err)
				}
				if !slices.Equal(client.PostLogoutRedirectURIs, []string{"https://app.test/bye"}) || !slices.Equal(client.RedirectURIs, c.RedirectURIs) || !slices.Equal(client.GrantTypes, c.GrantTypes) {
					t.Errorf("what the operator left alone changed: %+v", client)
				}
				err = f.store.View(t.Context(), func(tx storage.Tx) error {
					_, err := tx.Get(kindUnused, clientKey(fixtureURL, c.ID))
					return err
				})
				if !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("an approved client counts as one that nobody uses: %v", err)
				}
				if events := f.log.event("application_approved"); len(events) != 1 || events[0]["client_id"] != c.ID {
					t.Errorf("audit %v", events)
				}
				f.signedIn(f.person(fixtureProfile)).code("client_id", c.ID, "scope", "openid")
				time.Sleep(2 * applicationLifetime)
				if err := f.state.upkeep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !f.authenticates(c) || f.pending() != 0 {
					t.Error("an approved client is forgotten")
				}
			})
		})
	}
}

// The credentials that the client has go with its id and its type: an approval
// changes neither, and one that would leaves everything as it was.
func TestApproveRegisteredRefuses(t *testing.T) {
	f := newFixture(t, withApproval)
	c, a := f.waiting(goodMetadata)
	for name, adjust := range map[string]clients.Metadata{
		"another client_id":   {ID: "chosen"},
		"the id of a client":  {ID: "svc"},
		"another client type": {Type: clients.Public},
		"an unknown scope":    {Scope: oauth.Scope{"nothing"}},
		"a bad redirect URI":  {RedirectURIs: []string{"http://a.test/"}},
	} {
		var wrong *clientError
		if _, err := f.ApproveApplication(t.Context(), a.Reference, adjust); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := f.signedIn(f.operator())
	o.get("/applications/"+a.Reference).press(pages.ActionApprove, pages.FieldClientType, clients.Public, pages.FieldRedirectURIs, "https://app.test/cb",
		pages.FieldGrantType, oauth.GrantAuthorizationCode).expectStatus(400, "another client type")
	if client, err := f.Client(t.Context(), c.ID); err != nil || !client.IsWaiting() || !client.Disabled || f.pending() != 1 {
		t.Errorf("a refused approval changed the client: %+v, %v", client, err)
	}
	// A request that outlived its client can be rejected only.
	err := f.store.Update(t.Context(), func(tx storage.Tx) error { return clients.Delete(tx, fixtureURL, c.ID) })
	if err != nil {
		t.Fatal(err)
	}
	var wrong *clientError
	if _, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{}); !errors.As(err, &wrong) {
		t.Errorf("a client that is gone: %v", err)
	}
	if _, err := f.RejectApplication(t.Context(), a.Reference, "gone"); err != nil {
		t.Error(err)
	}
}

// A rejection takes the client and all of it away, and keeps the request.
func TestRejectRegistered(t *testing.T) {
	f := newFixture(t, withApproval)
	c, a := f.waiting(goodMetadata)
	stays, _ := f.waiting(goodMetadata)
	f.signedIn(f.operator()).get("/applications/"+a.Reference).press(pages.ActionReject, pages.FieldReason, "no").expectStatus(303, "a rejection")
	f.noneOf(c)
	expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 401, oauth.InvalidToken)
	expect(t, f.get("/register/"+stays.ID, withBearer(stays.AccessToken)), 200, "")
	if rejected, err := f.Application(t.Context(), a.Reference); err != nil || rejected.Status != ApplicationRejected || f.pending() != 1 {
		t.Errorf("%+v, %v", rejected, err)
	}
	if events := f.log.event("application_rejected"); len(events) != 1 || events[0]["client_id"] != c.ID {
		t.Errorf("audit %v", events)
	}
}

// A rejection reaches the client that its request is about, and no other that has
// its id.
func TestRejectRegisteredSparesOthers(t *testing.T) {
	f := newFixture(t, withApproval)
	c, a := f.waiting(goodMetadata)
	err := f.store.Update(t.Context(), func(tx storage.Tx) error { return clients.Delete(tx, fixtureURL, c.ID) })
	if err != nil {
		t.Fatal(err)
	}
	as := f.add(c.ID)
	if _, err := f.RejectApplication(t.Context(), a.Reference, "no"); err != nil {
		t.Fatal(err)
	}
	expect(t, f.post("/token", ccGrant, as), 200, "")
}

// RFC 7592: a client that waits reads and removes itself. It changes nothing of
// what the operator looks at, before the answer or after it.
func TestManageWhileWaiting(t *testing.T) {
	f := newFixture(t, withApproval)
	c, a := f.waiting(goodMetadata)
	expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 200, "")
	change := fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://evil.test/cb"],"disabled":false,"client_name":"Self"}`, c.ID)
	expect(t, f.update(c, change), 400, oauth.InvalidClientMetadata)
	expect(t, f.post("/token", "grant_type=authorization_code&code=x", c.as()), 401, oauth.InvalidClient)

	if w := f.remove(c, withBearer(c.AccessToken)); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	f.noneOf(c)
	if _, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{}); !errors.Is(err, storage.ErrNotFound) || f.pending() != 0 {
		t.Errorf("the request of a client that removed itself: %v, %d pending", err, f.pending())
	}

	approved, a := f.waiting(goodMetadata)
	if _, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{}); err != nil {
		t.Fatal(err)
	}
	expect(t, f.get("/register/"+approved.ID, withBearer(approved.AccessToken)), 200, "")
	expect(t, f.update(approved, strings.ReplaceAll(change, c.ID, approved.ID)), 400, oauth.InvalidClientMetadata)
	if client, err := f.Client(t.Context(), approved.ID); err != nil || client.RedirectURIs[0] != "https://app.test/cb" {
		t.Errorf("an approved client changed itself: %+v, %v", client, err)
	}
	// Only waiting opens the address to a disabled client.
	err := f.store.Update(t.Context(), func(tx storage.Tx) error {
		client, err := clients.Get(tx, fixtureURL, approved.ID)
		if err != nil {
			return err
		}
		client.Disabled = true
		return clients.Put(tx, fixtureURL, client)
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, f.get("/register/"+approved.ID, withBearer(approved.AccessToken)), 401, oauth.InvalidToken)
	if w := f.remove(approved, withBearer(approved.AccessToken)); w.Code != http.StatusUnauthorized {
		t.Errorf("a disabled client removed itself: %d", w.Code)
	}
}

// Of approvals and rejections at once one counts, and what is
// left is whole: an enabled client, or nothing of it.
func TestRegisteredAnswerRace(t *testing.T) {
	for range 10 {
		f := newFixture(t, withApproval)
		c, a := f.waiting(goodMetadata)
		const racers = 6
		var approved, rejected atomic.Int32
		var wait sync.WaitGroup
		f.store.hold(racers)
		for n := range racers {
			wait.Go(func() {
				answered := &approved
				var err error
				if n%2 == 0 {
					_, err = f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{})
				} else {
					answered = &rejected
					_, err = f.RejectApplication(t.Context(), a.Reference, "no")
				}
				switch {
				case err == nil:
					answered.Add(1)
				case !errors.Is(err, ErrApplicationAnswered):
					t.Errorf("the loser: %v", err)
				}
			})
		}
		wait.Wait()
		if approved.Load()+rejected.Load() != 1 || f.pending() != 0 {
			t.Fatalf("%d approvals and %d rejections counted", approved.Load(), rejected.Load())
		}
		if works := f.authenticates(c); works != (approved.Load() == 1) {
			t.Fatalf("approved %d times, and the client works: %v", approved.Load(), works)
		}
		if rejected.Load() == 1 {
			f.noneOf(c)
		}
	}
}

// The client removes itself while an operator approves it: it is gone in the end,
// whichever came first, and so is the request if the approval came too late.
func TestApproveRemoveRace(t *testing.T) {
	for range 10 {
		f := newFixture(t, withApproval)
		c, a := f.waiting(goodMetadata)
		var wait sync.WaitGroup
		f.store.hold(2)
		wait.Go(func() {
			if _, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{}); err != nil && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("approve: %v", err)
			}
		})
		wait.Go(func() {
			if err := f.RemoveClient(t.Context(), c.ID); err != nil {
				t.Errorf("remove: %v", err)
			}
		})
		wait.Wait()
		f.noneOf(c)
		if f.pending() != 0 {
			t.Fatal("a request is left that nobody can approve")
		}
	}
}

// The queue is one: what strangers register and what they type fill it together,
// at once or one after the other, and nothing is left of a client that had no
// room (RFC 6585 §4).
func TestApprovalFlood(t *testing.T) {
	f := newFixture(t, withApproval)
	const racers, room = 8, 3
	for range maxPendingApplications - room {
		f.requested()
	}
	before, _ := f.Clients(t.Context())
	codes := make([]int, racers)
	var wait sync.WaitGroup
	f.store.hold(racers)
	for n := range racers {
		wait.Go(func() { codes[n] = f.postMetadata(goodMetadata).Code })
	}
	wait.Wait()
	slices.Sort(codes)
	if want := []int{201, 201, 201, 429, 429, 429, 429, 429}; !slices.Equal(codes, want) {
		t.Errorf("answers %v, want %v", codes, want)
	}
	if after, _ := f.Clients(t.Context()); len(after) != len(before)+room || f.pending() != maxPendingApplications {
		t.Errorf("%d clients were made, %d requests wait", len(after)-len(before), f.pending())
	}
	w := f.postMetadata(goodMetadata)
	expect(t, w, 429, oauth.TemporarilyUnavailable)
	if w.Header().Get("Retry-After") != "3600" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	f.visitor().apply(complete()).expectStatus(503, "the queue of the form is the same")
	if _, err := f.RejectApplication(t.Context(), f.applications()[0].Reference, "no"); err != nil {
		t.Fatal(err)
	}
	f.selfRegistered(goodMetadata)
}

// Nobody answers: client and request go together, and so does what counts them.
func TestWaitingClientExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withApproval, func(c *Config) { c.Registration.Unused = 1 })
		c, a := f.waiting(goodMetadata)
		expect(t, f.postMetadata(goodMetadata), 429, oauth.TemporarilyUnavailable)
		if f.pending() != 1 {
			t.Error("a registration that had no room left its request")
		}
		time.Sleep(applicationLifetime - time.Second)
		if _, err := f.RotateSecret(t.Context(), c.ID, time.Hour); err != nil { // the operator's hand makes nothing last
			t.Fatal(err)
		}
		expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 200, "")
		if client, err := f.Client(t.Context(), c.ID); err != nil || !client.Registration.UnusedUntil.Equal(a.Expiry) {
			t.Errorf("%+v, %v", client, err)
		}
		time.Sleep(2 * time.Second)
		expect(t, f.get("/register/"+c.ID, withBearer(c.AccessToken)), 401, oauth.InvalidToken)
		if _, err := f.ApproveApplication(t.Context(), a.Reference, clients.Metadata{}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("approved after it was forgotten: %v", err)
		}
		if err := f.state.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.noneOf(c)
		f.selfRegistered(goodMetadata)
	})
}

// A storage that fails leaves neither half.
func TestApprovalWithoutStorage(t *testing.T) {
	f := newFixture(t, withApproval)
	f.store.fail(storage.ErrUnavailable)
	expect(t, f.postMetadata(goodMetadata), 503, oauth.TemporarilyUnavailable)
	f.store.recover()
	if f.pending() != 0 {
		t.Error("a request without its client")
	}
}
