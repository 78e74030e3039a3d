package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

func withApplications(c *Config) {
	withPeople(c)
	c.Applications, c.Welcome = true, true
}

// typed fills in a form: "name=value", a name as often as need be.
func typed(pairs ...string) url.Values {
	values := make(url.Values)
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		values.Add(name, value)
	}
	return values
}

// complete is a request that leaves out all that may be left out.
func complete(more ...string) url.Values {
	values := typed(append([]string{"name=Meter reader", "description=Reads meters.", "contact=dev@example.test"}, more...)...)
	for name, given := range values {
		values[name] = given[len(given)-1:] // the later one replaces
	}
	for name := range repeatableInApplication {
		if given := typed(more...)[name]; given != nil {
			values[name] = given
		}
	}
	return values
}

// apply sends the form as a browser that was shown it.
func (v *visitor) apply(fields url.Values) *shown {
	v.t.Helper()
	fields.Set(pages.FieldCSRF, v.get("/applications/new").forms[0].fields.Get(pages.FieldCSRF))
	return v.post("/applications/new", fields)
}

// requested is a request that waits.
func (f *fixture) requested(more ...string) *Application {
	f.t.Helper()
	a, problems := f.readApplication(typedApplication(oauth.Form(complete(more...))))
	if len(problems) > 0 {
		f.t.Fatal(problems)
	}
	if err := f.addApplication(f.t.Context(), a); err != nil {
		f.t.Fatal(err)
	}
	return a
}

// applications are all there are.
func (f *fixture) applications() []*Application {
	f.t.Helper()
	all, err := f.Applications(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

func (f *fixture) operator() *users.User {
	return f.person(users.User{Username: "olga", Operator: true})
}

// Whoever asks must say what it is and how to reach them, and may be unsure of
// all the rest.
func TestRequestApplication(t *testing.T) {
	var announced []Application
	f := newFixture(t, withApplications, func(c *Config) {
		c.OnApplication = func(_ context.Context, a Application) { announced = append(announced, a) }
	})
	v := f.visitor()
	thanks := v.apply(complete()).follow().expectStatus(200, "a request is thanked for")
	all := f.applications()
	if len(all) != 1 || all[0].Status != ApplicationPending || all[0].ClientType != "" || all[0].GrantTypes != nil || all[0].Address != "192.0.2.1" {
		t.Fatalf("stored: %+v", all)
	}
	for _, part := range []string{all[0].Reference, "Meter reader", "dev@example.test"} {
		if !strings.Contains(thanks.Body.String(), part) {
			t.Errorf("the thanks lack %q", part)
		}
	}
	if len(announced) != 1 || announced[0].Reference != all[0].Reference {
		t.Errorf("announced: %+v", announced)
	}
	if lines := f.log.event("application_requested"); len(lines) != 1 || lines[0]["reference"] != all[0].Reference || lines[0]["remote_ip"] == nil {
		t.Errorf("audit: %v", lines)
	}

	v.apply(complete("client_type=confidential", "grant_type=authorization_code", "grant_type=refresh_token",
		"redirect_uris=https://meter.test/cb\r\n\r\nhttps://meter.test/cb2\r\nhttps://meter.test/cb", "resource="+fixtureAPI, "resources=the billing API\r\nles données",
		"scope=read", "scope=openid", "scopes=orders:* données")).expectStatus(303, "everything at once")
	i := slices.IndexFunc(f.applications(), func(a *Application) bool { return a.ClientType != "" })
	a := f.applications()[i]
	got := fmt.Sprint(a.ClientType, a.GrantTypes, a.RedirectURIs, a.Resources, a.Scopes)
	want := "confidential[authorization_code refresh_token][https://meter.test/cb https://meter.test/cb2]" +
		"[" + fixtureAPI + " the billing API les données][read openid orders:* données]"
	if strings.ReplaceAll(got, " [", "[") != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestRequestApplicationRefuses(t *testing.T) {
	f := newFixture(t, withApplications)
	v := f.visitor()
	for _, test := range []struct {
		what   string
		fields url.Values
	}{
		{"no name", complete("name= ")},
		{"a name of characters that show nothing", complete("name=\u202e\u200b\x07")},
		{"no description", complete("description=")},
		{"no contact", complete("contact=")},
		{"a contact that is no address", complete("contact=dev at example")},
		{"a contact with a name before it", complete("contact=Dev <dev@example.test>")},
		{"two contacts", complete("contact=a@example.test,b@example.test")},
		{"a name of 101 characters", complete("name=" + strings.Repeat("é", 101))},
		{"a description of 2001", complete("description=" + strings.Repeat("é", 2001))},
		{"a contact of 255", complete("contact=" + strings.Repeat("a", 255-len("@x.test")) + "@x.test")},
		{"redirect URIs of 4001", complete("redirect_uris=https://a.test/" + strings.Repeat("a", 4000))},
		{"resources of 4001", complete("resources=" + strings.Repeat("a", 4001))},
		{"scopes of 1001", complete("scopes=" + strings.Repeat("a", 1001))},
		{"http to another host (RFC 6749 section 3.1.2.1)", complete("redirect_uris=http://a.test/cb")},
		{"a script", complete("redirect_uris=javascript:alert(1)")},
		{"a wildcard", complete("redirect_uris=https://*.a.test/cb")},
		{"a client type that there is not", complete("client_type=root")},
		{"a grant type that there is not", complete("grant_type=password")},
		{"a resource that was not offered", complete("resource=https://elsewhere.test")},
		{"a scope that was not offered", complete("scope=root")},
	} {
		t.Run(test.what, func(t *testing.T) {
			page := v.apply(test.fields).expectStatus(400, "a field is wrong")
			if len(page.forms) == 0 || page.forms[0].action != "/applications/new" || !strings.Contains(page.Body.String(), `class="field-error"`) {
				t.Errorf("the form does not say which field: %.4000s", page.Body)
			}
		})
	}
	if all := f.applications(); len(all) != 0 {
		t.Errorf("stored nevertheless: %+v", all[0])
	}
	// A refusal costs nothing of what the address may send.
	for range freeRequests {
		v.apply(complete()).expectStatus(303, "a good request after bad ones")
	}
}

// What strangers type is shown to operators, in pages and terminals.
func TestApplicationOfHostileText(t *testing.T) {
	f := newFixture(t, withApplications)
	const markup = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	f.visitor().apply(complete("name="+markup+"\x1b[2J\u202e", "description="+markup+"\r\n\x1b]0;title\x07\r\nline 3\tend", "resources="+markup, "scopes="+markup)).expectStatus(303, "text is text")
	a := f.applications()[0]
	for _, text := range append([]string{a.Name, a.Description, a.Contact}, append(a.Resources, a.Scopes...)...) {
		if strings.ContainsAny(text, "\x1b\x07\r\t\u202e") {
			t.Errorf("%q acts on a terminal", text)
		}
	}
	if lines := strings.Count(a.Description, "\n"); lines != 2 {
		t.Errorf("the description has lost its lines: %q", a.Description)
	}
	v := f.signedIn(f.operator())
	for _, path := range []string{"/applications", "/applications/" + a.Reference} {
		page := v.get(path).expectStatus(200, "an operator sees it") // readForms refuses what would run
		if strings.Contains(page.Body.String(), "<script>") || strings.Contains(page.Body.String(), "<img src=x") {
			t.Errorf("%s: the text of a stranger is markup", path)
		}
	}
}

func TestApplicationFormIsBound(t *testing.T) {
	f := newFixture(t, withApplications)
	v := f.visitor()
	fields := complete()
	fields.Set(pages.FieldCSRF, v.get("/applications/new").forms[0].fields.Get(pages.FieldCSRF))
	f.visitor().post("/applications/new", fields).expectStatus(403, "another browser's form")
	v.post("/applications/new", fields, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }).expectStatus(403, "another site's form")
	v.post("/applications/new", complete()).expectStatus(403, "a form without its token")
	v.get("/applications/new?received=made-up").expectStatus(400, "thanks that were not sealed here")
	v.get("/applications/new?received="+fields.Get(pages.FieldCSRF)).expectStatus(400, "thanks that were not sealed here")
	if len(f.applications()) != 0 {
		t.Error("stored nevertheless")
	}
	off := newFixture(t, withPeople)
	for _, path := range []string{"/applications", "/applications/new", "/applications/aaaaaaaaaa"} {
		if off.Serves(path) {
			t.Errorf("%s is served though applications are off", path)
		}
	}
}

// An address may send a few at once, and one more now and then.
func TestApplicationsOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withApplications)
		v := f.visitor()
		for range freeRequests {
			v.apply(complete()).expectStatus(303, "within the budget")
		}
		refused := v.apply(complete()).expectStatus(429, "more than one address may send")
		if refused.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		f.restartKeepingState()
		v.apply(complete()).expectStatus(429, "a reload gives no budget back")
		time.Sleep(requestRefill)
		v.apply(complete()).expectStatus(303, "one more after a while")
		v.apply(complete()).expectStatus(429, "and only one")
	})
}

// restartKeepingState is a reload of the configuration.
func (f *fixture) restartKeepingState() {
	f.t.Helper()
	reloaded, err := New(f.t.Context(), f.config, f.state)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Issuer = reloaded
}

// Many at once from one address get no more than one after the other.
func TestApplicationsAtOnce(t *testing.T) {
	for range 500 {
		limit := limit.New(1, requestRefill)
		var wait sync.WaitGroup
		var passed atomic.Int32
		begin := make(chan struct{})
		for range 8 {
			wait.Go(func() {
				<-begin
				if limit.Take("192.0.2.1") == 0 {
					passed.Add(1)
				}
			})
		}
		close(begin)
		wait.Wait()
		if passed.Load() != 1 {
			t.Fatalf("%d of 8 passed, want 1", passed.Load())
		}
	}
}

// Strangers can fill the queue and no more than that; an answer makes room, and
// so does age.
func TestApplicationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withApplications)
		fill := func() {
			for range maxPendingApplications {
				f.requested()
			}
		}
		fill()
		v := f.visitor()
		page := v.apply(complete()).expectStatus(503, "the queue is full")
		if !strings.Contains(page.Body.String(), "No requests are accepted now") {
			t.Errorf("the page does not say so: %s", page.Body)
		}
		if _, err := f.RejectApplication(t.Context(), f.applications()[0].Reference, "no"); err != nil {
			t.Fatal(err)
		}
		v.apply(complete()).expectStatus(303, "an answer makes room")
		v.apply(complete()).expectStatus(503, "for one")
		if n := len(f.applications()); n != maxPendingApplications+1 {
			t.Errorf("%d applications", n)
		}
		time.Sleep(applicationLifetime + time.Hour)
		if n := len(f.applications()); n != 0 {
			t.Errorf("%d applications are older than they may be", n)
		}
		fill()
	})
}

// One stranger with time and a network of their own does not fill the queue: others
// still have room.
func TestApplicationsOfOneSite(t *testing.T) {
	f := newFixture(t, withApplications)
	send := func(address string) error {
		a, _ := f.readApplication(typedApplication(oauth.Form(complete())))
		a.Address = address
		return f.addApplication(t.Context(), a)
	}
	taken := 0
	for n := range maxPendingApplications {
		switch err := send(fmt.Sprintf("2001:db8:1:%x::1", n)); {
		case err == nil:
			taken++
		case !errors.Is(err, errApplicationsFull):
			t.Fatal(err)
		}
	}
	if taken != maxPendingApplications/4 {
		t.Errorf("%d requests of one customer wait, want %d", taken, maxPendingApplications/4)
	}
	must(t, send("2001:db8:2::1"))
	must(t, send("192.0.2.1"))
	if _, err := f.RejectApplication(t.Context(), f.applications()[0].Reference, "no"); err != nil {
		t.Fatal(err)
	}
}

func TestApplicationsWithoutStorage(t *testing.T) {
	f := newFixture(t, withApplications)
	v := f.visitor()
	fields := complete()
	fields.Set(pages.FieldCSRF, v.get("/applications/new").forms[0].fields.Get(pages.FieldCSRF))
	f.store.fail(storage.ErrUnavailable)
	v.post("/applications/new", fields).expectStatus(503, "cannot tell is not done")
	f.store.recover()
	if len(f.applications()) != 0 {
		t.Error("stored nevertheless")
	}
}
