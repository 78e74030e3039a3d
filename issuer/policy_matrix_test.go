package issuer

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// The usual hole of this field is a check that one flow has and its sibling lacks.
// So every grant goes through every check here, and every endpoint through every
// check of endpoints; docs/policy.md shows the results.

var updatePolicy = flag.Bool("update", false, "write docs/policy.md")

const policyPage = "../docs/policy.md"

// matrixGrants are the columns, in the order of the cells of a matrixCheck.
var matrixGrants = []string{
	oauth.GrantClientCredentials, oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantDeviceCode, oauth.GrantTokenExchange,
}

const (
	given    = "token"    // a token is given
	notGiven = "left out" // a token is given, and not for what it must not be for

	withAuthorization = "no longer than its authorization" // a token is given, which whatever ends that ends
)

// matrixCheck is a row: what every grant must hold, and what each does, in the
// order of matrixGrants: the refusal, or a reason why there is nothing to check,
// which begins with a dash.
type matrixCheck struct {
	name, must string
	run        func(*matrixCell) string
	cells      [5]string
}

var (
	nothingPresented = "- the client presents nothing but its secret"
	noPerson         = "- no person takes part"
)

var matrixChecks = []matrixCheck{
	{"a good request", "RFC 6749 §5.1", func(c *matrixCell) string { return c.outcome(c.send(nil, asAll)) },
		allCells(given)},
	{"the audience is never empty", "RFC 9068 §2.2", func(c *matrixCell) string {
		if len(c.f.facts(c.token(c.send(nil, asAll))).Audience) == 0 {
			return "an empty audience"
		}
		return given
	}, allCells(given)},
	{"Cache-Control: no-store", "RFC 6749 §5.1", func(c *matrixCell) string {
		w := c.send(nil, asAll)
		checkNotStored(c.f.t, w)
		return c.outcome(w)
	}, allCells(given)},

	{"no client authentication", "RFC 6749 §3.2.1", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{"client_id": {"all"}}))
	}, allCells("401 invalid_client")},
	{"wrong client secret", "RFC 6749 §3.2.1", func(c *matrixCell) string {
		return c.outcome(c.send(nil, withBasic("all", "canary-wrong")))
	}, allCells("401 invalid_client")},
	{"client credentials in the query", "RFC 6749 §2.3.1", func(c *matrixCell) string {
		c.target = "/token?client_id=all&client_secret=canary-all"
		return c.outcome(c.send(nil))
	}, allCells("401 invalid_client")},
	{"two authentication methods", "RFC 6749 §2.3", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{"client_id": {"all"}, "client_secret": {"canary-all"}}, asAll))
	}, allCells("400 invalid_request")},
	{"unknown client", "RFC 6749 §3.2.1", func(c *matrixCell) string {
		return c.outcome(c.send(nil, withBasic("nobody", "canary-all")))
	}, allCells("401 invalid_client")},
	{"disabled client", "RFC 6749 §3.2.1", func(c *matrixCell) string {
		c.change(func(client *clients.Client) { client.Disabled = true })
		return c.outcome(c.send(nil, asAll))
	}, allCells("401 invalid_client")},
	{"removed client", "RFC 6749 §3.2.1", func(c *matrixCell) string {
		c.change(func(client *clients.Client) { client.ID = "renamed" })
		return c.outcome(c.send(nil, asAll))
	}, allCells("401 invalid_client")},
	{"grant the client is not registered for", "RFC 6749 §5.2", func(c *matrixCell) string {
		c.change(func(client *clients.Client) {
			client.GrantTypes = slices.DeleteFunc(slices.Clone(client.GrantTypes), func(g string) bool { return g == c.grant })
		})
		return c.outcome(c.send(nil, asAll))
	}, allCells("400 unauthorized_client")},
	{"public client", "RFC 6749 §4.4, RFC 9700 §2.1.1", func(c *matrixCell) string {
		c.change(func(client *clients.Client) { client.Type, client.Secrets = clients.Public, nil })
		return c.outcome(c.send(url.Values{"client_id": {"all"}}))
	}, [5]string{"400 unauthorized_client", given, given, given, "400 unauthorized_client"}},
	{"parameter twice", "RFC 6749 §3.2", func(c *matrixCell) string {
		c.more = "&unknown=1&unknown=2"
		return c.outcome(c.send(nil, asAll))
	}, allCells("400 invalid_request")},

	{"scope beyond the client's", "RFC 6749 §3.3", func(c *matrixCell) string {
		return c.without("admin", c.send(url.Values{"scope": {"read admin"}}, asAll))
	}, [5]string{"400 invalid_scope", notGiven, "400 invalid_scope", notGiven, "400 invalid_scope"}},
	{"scope beyond what was granted", "RFC 6749 §6", func(c *matrixCell) string {
		return c.without("write", c.send(url.Values{"scope": {"read write"}}, asAll))
	}, [5]string{"- the registration is the grant", notGiven, "400 invalid_scope", notGiven, "400 invalid_scope"}},
	{"scope about people", "OpenID Connect Core §5.4", func(c *matrixCell) string {
		return c.without("email", c.send(url.Values{"scope": {"email"}}, asAll))
	}, [5]string{"400 invalid_scope", notGiven, "400 invalid_scope", notGiven, "400 invalid_scope"}},
	{"unknown resource", "RFC 8707 §2", func(c *matrixCell) string {
		return c.notFor("https://nowhere.test", c.send(url.Values{"resource": {"https://nowhere.test"}}, asAll))
	}, [5]string{"400 invalid_target", "400 invalid_target", "400 invalid_target", "400 invalid_target", "400 invalid_target"}},
	{"resource that was not granted", "RFC 8707 §2.2", func(c *matrixCell) string {
		return c.notFor(fixtureFiles, c.send(url.Values{"resource": {fixtureFiles}}, asAll))
	}, [5]string{"- the registration is the grant", "400 invalid_target", "400 invalid_target", "400 invalid_target", "- the exchange asks for other audiences by design; the registration bounds it: the next row"}},
	{"resource that is not the client's", "RFC 8707 §2", func(c *matrixCell) string {
		return c.notFor(fixtureAdmin, c.send(url.Values{"resource": {fixtureAdmin}}, asAll))
	}, [5]string{"400 invalid_target", "400 invalid_target", "400 invalid_target", "400 invalid_target", "400 invalid_target"}},

	{"what is presented is missing", "RFC 6749 §5.2", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{c.presented(): nil}, asAll))
	}, [5]string{nothingPresented, "400 invalid_request", "400 invalid_request", "400 invalid_request", "400 invalid_request"}},
	{"what is presented is made up", "RFC 6749 §10.10", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{c.presented(): {strings.Repeat("A", 44)}}, asAll))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"what is presented has one letter changed", "RFC 6749 §10.10", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{c.presented(): {changedLetter(c.form.Get(c.presented()))}}, asAll))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"what is presented was given to another client", "RFC 6749 §4.1.3, §6, RFC 8628 §3.4, RFC 8693 §2.1", func(c *matrixCell) string {
		return c.outcome(c.send(nil, withBasic("twin2", "canary-twin2")))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"an access token in place of it", "RFC 8725 §3.11", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{c.presented(): {c.f.issue(asAll, "")}}, asAll))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"presented twice", "RFC 6749 §4.1.2, §10.4, RFC 8628 §3.5", func(c *matrixCell) string {
		c.token(c.send(nil, asAll))
		time.Sleep(time.Minute) // past the grace of refresh tokens, and no poll too soon
		return c.outcome(c.send(nil, asAll))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "- a subject token may be exchanged as long as it is good (RFC 8693 §2.1)"}},
	{"presented twice: what the first gave", "RFC 6749 §4.1.2, RFC 9700 §4.14.2", func(c *matrixCell) string {
		first := c.token(c.send(nil, asAll))
		time.Sleep(40 * time.Second)
		c.send(nil, asAll)
		if c.f.active(first) {
			return "stays"
		}
		return "is revoked"
	}, [5]string{nothingPresented, "is revoked", "is revoked", "- a device that lost the answer asks again by itself; it is given nothing, and loses nothing", "- a subject token may be exchanged as long as it is good (RFC 8693 §2.1)"}},
	{"presented too late", "RFC 6749 §4.1.2, RFC 8628 §3.2, RFC 8693 §2.2.2", func(c *matrixCell) string {
		time.Sleep(c.lifetime())
		return c.outcome(c.send(nil, asAll))
	}, [5]string{nothingPresented, "400 invalid_grant", "400 invalid_grant", "400 expired_token", "400 invalid_request"}},
	{"the person has disconnected the client", "RFC 7009 §2.1", func(c *matrixCell) string {
		must(c.f.t, c.f.Disconnect(c.f.t.Context(), c.alice.ID, "all"))
		return c.outcome(c.send(nil, asAll))
	}, [5]string{noPerson, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"the person has agreed again after disconnecting the client", "RFC 7009 §2.1", func(c *matrixCell) string {
		must(c.f.t, c.f.Disconnect(c.f.t.Context(), c.alice.ID, "all"))
		c.agree()
		return c.outcome(c.send(nil, asAll))
	}, [5]string{noPerson, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_request"}},
	{"the way in which the person signed in is gone", "RFC 9700 §4.14.2", func(c *matrixCell) string {
		people := c.f.realm.people
		people.UseLogins(signin.Logins{})
		defer people.UseLogins(signin.LoginsOf(c.f.Issuer.signInConfig()))
		return c.outcome(c.send(nil, asAll))
	}, [5]string{noPerson, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "- access tokens outlive it by their own lifetime, and so does what is exchanged for one"}},
	{"presented at the last moment: how long the token lives", "RFC 7009 §2.1", func(c *matrixCell) string {
		time.Sleep(min(c.lifetime(), c.f.Issuer.config.RefreshTokenIdleLifetime) - 10*time.Second)
		w := c.send(nil, asAll)
		if w.Code != http.StatusOK {
			return c.outcome(w)
		}
		return c.against(c.f.facts(c.token(w)))
	}, [5]string{noPerson, withAuthorization, withAuthorization, withAuthorization, withAuthorization}},
	{"the account is disabled", "RFC 9700 §4.14.2", func(c *matrixCell) string {
		c.f.change(c.alice, func(u *users.User) { u.Disabled = true })
		return c.outcome(c.send(nil, asAll))
	}, [5]string{noPerson, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "- access tokens outlive a disabled account by their own lifetime, and so does what is exchanged for one; an operator revokes them"}},
	{"the client has lost the scope since", "RFC 6749 §6", func(c *matrixCell) string {
		c.change(func(client *clients.Client) { client.Scope = oauth.Scope{"write", "openid", "offline_access"} })
		return c.without("read", c.send(nil, asAll))
	}, allCells(notGiven)},
	{"the client has lost the resource since", "RFC 8707 §2.2", func(c *matrixCell) string {
		c.change(func(client *clients.Client) { client.Resources = []string{fixtureFiles} })
		return c.notFor(fixtureAPI, c.send(nil, asAll))
	}, allCells(notGiven)},
	{"the redirect URI differs", "RFC 6749 §4.1.3", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{"redirect_uri": {"https://all.test/other"}}, asAll))
	}, [5]string{"- nobody is redirected", "400 invalid_grant", "- nobody is redirected", "- nobody is redirected", "- nobody is redirected"}},
	{"the code verifier is missing", "RFC 7636 §4.6", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{"code_verifier": nil}, asAll))
	}, [5]string{"- there is no authorization request", "400 invalid_grant", "- the refresh token itself went through no browser", "- the device code itself went through no browser", "- the tokens themselves went through no browser"}},
	{"the actor token is another client's", "RFC 8693 §2.1", func(c *matrixCell) string {
		return c.outcome(c.send(url.Values{"actor_token": {c.f.issue(withBasic("twin2", "canary-twin2"), "")}}, asAll))
	}, [5]string{"- nobody acts for another", "- nobody acts for another", "- nobody acts for another", "- nobody acts for another", "400 invalid_request"}},
	{"the storage cannot tell", "design: cannot tell is no", func(c *matrixCell) string {
		c.f.store.fail(storageFailures[0])
		defer c.f.store.recover()
		return c.outcome(c.send(nil, asAll))
	}, [5]string{"- the client is declared, and nothing is stored", "503 temporarily_unavailable", "503 temporarily_unavailable", "503 temporarily_unavailable", "- signatures prove it, and revocations are in memory"}},
}

func allCells(outcome string) [5]string {
	return [5]string{outcome, outcome, outcome, outcome, outcome}
}

func changedLetter(s string) string {
	n := len(s) / 2
	if s[n] == 'A' {
		return s[:n] + "B" + s[n+1:]
	}
	return s[:n] + "A" + s[n+1:]
}

var asAll = withBasic("all", "canary-all")

// withMatrix adds two clients that may do everything, at https://api.test and
// https://files.test/v1.
func withMatrix(c *Config) {
	for _, id := range []string{"all", "twin2"} {
		c.Clients = append(c.Clients, clients.Client{
			Metadata: clients.Metadata{
				ID: id, Type: clients.Confidential, GrantTypes: slices.Clone(matrixGrants), RedirectURIs: []string{"https://" + id + ".test/cb"},
				Scope: append(slices.Clone(oauth.PersonalScopes), "read", "write"), Resources: []string{fixtureAPI, fixtureFiles},
			},
			Secrets: []clients.Secret{{Hash: clients.HashSecret("canary-" + id)}},
		})
	}
	c.Resources = func() []string { return []string{fixtureAPI, fixtureFiles, fixtureAdmin} }
	c.LocalLogin = true
}

// matrixCell is one check of one grant, with a proof of its own.
type matrixCell struct {
	f     *fixture
	grant string
	alice *users.User

	form         url.Values // a good request, but for the client's authentication
	target, more string
}

// prove fills in the form of a good request.
func (c *matrixCell) prove() {
	c.target, c.form = "/token", url.Values{"grant_type": {c.grant}}
	v := c.f.signedIn(c.alice)
	code := func() string {
		return v.code("client_id", "all", "redirect_uri", "https://all.test/cb", "scope", "openid offline_access read", "resource", fixtureAPI)
	}
	redeem := func() url.Values {
		form, err := url.ParseQuery(redeemForm(code(), "redirect_uri", "https://all.test/cb"))
		must(c.f.t, err)
		return form
	}
	tokens := func() fixtureTokens { return c.f.tokens(c.f.post("/token", redeem().Encode(), asAll)) }
	switch c.grant {
	case oauth.GrantAuthorizationCode:
		c.form = redeem()
	case oauth.GrantRefreshToken:
		c.form.Set("refresh_token", tokens().RefreshToken)
	case oauth.GrantDeviceCode:
		d := c.f.device("scope=openid+offline_access+read&resource="+url.QueryEscape(fixtureAPI), asAll)
		v.confirm(d.UserCode).press(pages.ActionAllow)
		c.form.Set("device_code", d.DeviceCode)
	case oauth.GrantTokenExchange:
		maps.Copy(c.form, url.Values{
			"subject_token": {tokens().AccessToken}, "subject_token_type": {tokenTypeAccessToken},
			"actor_token": {c.f.issue(asAll, "")}, "actor_token_type": {tokenTypeAccessToken},
		})
	}
}

// agree has the person agree to the client anew.
func (c *matrixCell) agree() {
	c.f.signedIn(c.alice).code("client_id", "all", "redirect_uri", "https://all.test/cb", "scope", "openid offline_access read", "resource", fixtureAPI)
}

// against holds the life of a token against that of its authorization.
func (c *matrixCell) against(token *introspect.Token) string {
	all, err := c.f.Authorizations(c.f.t.Context(), c.alice.ID)
	must(c.f.t, err)
	for _, a := range all {
		if a.ID == token.AuthorizationID && !token.Expiry.After(a.Expiry) {
			return withAuthorization
		}
	}
	return "longer than its authorization"
}

// presented is the parameter that proves the grant.
func (c *matrixCell) presented() string {
	return map[string]string{
		oauth.GrantAuthorizationCode: "code", oauth.GrantRefreshToken: "refresh_token", oauth.GrantDeviceCode: "device_code",
		oauth.GrantTokenExchange: "subject_token",
	}[c.grant]
}

// lifetime is how long what is presented is good.
func (c *matrixCell) lifetime() time.Duration {
	return map[string]time.Duration{
		oauth.GrantAuthorizationCode: time.Minute, oauth.GrantRefreshToken: c.f.Issuer.config.RefreshTokenLifetime + time.Minute,
		oauth.GrantDeviceCode: 10 * time.Minute, oauth.GrantTokenExchange: c.f.Issuer.config.AccessTokenLifetime,
	}[c.grant]
}

// send asks for a token; nil leaves a parameter out.
func (c *matrixCell) send(changes url.Values, as ...fixtureRequest) *httptest.ResponseRecorder {
	form := maps.Clone(c.form)
	maps.Copy(form, changes)
	return c.f.post(c.target, form.Encode()+c.more, as...)
}

// change declares the client otherwise, as a reload does.
func (c *matrixCell) change(change func(*clients.Client)) {
	declared := slices.Clone(c.f.config.Clients)
	for n := range declared {
		if declared[n].ID == "all" {
			change(&declared[n])
		}
	}
	i := c.f.Issuer
	i.clients = clients.NewRegistry(c.f.state.Storage, i.config.URL, i.config.scopeNames(), declared)
}

func (c *matrixCell) outcome(w *httptest.ResponseRecorder) string {
	if w.Code == http.StatusOK {
		c.token(w)
		return given
	}
	if strings.Contains(w.Body.String(), "access_token\":") {
		c.f.t.Errorf("a refusal with a token: %s", w.Body)
	}
	return fmt.Sprint(w.Code, " ", errorOf(c.f.t, w))
}

func (c *matrixCell) token(w *httptest.ResponseRecorder) string {
	return c.f.tokens(w).AccessToken
}

// without is the outcome of asking for a scope that must not be given.
func (c *matrixCell) without(scope string, w *httptest.ResponseRecorder) string {
	outcome := c.outcome(w)
	if outcome == given && !c.f.facts(c.token(w)).HasScope(scope) {
		return notGiven
	}
	return outcome
}

// notFor is the outcome of asking for a resource that must not be given.
func (c *matrixCell) notFor(resource string, w *httptest.ResponseRecorder) string {
	outcome := c.outcome(w)
	if outcome == given && !c.f.facts(c.token(w)).HasAudience(resource) {
		return notGiven
	}
	return outcome
}

// TestGrantMatrix: every grant holds every check.
func TestGrantMatrix(t *testing.T) {
	if len(grants) != len(matrixGrants) {
		t.Errorf("%d grants are served and %d are checked", len(grants), len(matrixGrants))
	}
	for column, grant := range matrixGrants {
		t.Run(grant, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, withMatrix)
				declared := f.Issuer.clients
				for row, check := range matrixChecks {
					want := check.cells[column]
					if strings.HasPrefix(want, "- ") {
						continue
					}
					t.Logf("%s, %s", grant, check.name)
					c := &matrixCell{f: f, grant: grant, alice: f.person(users.User{Username: fmt.Sprint("alice", row)})}
					c.prove()
					if got := check.run(c); got != want {
						t.Errorf("%s, %s (%s): %s, want %s", grant, check.name, check.must, got, want)
					}
					f.Issuer.clients = declared
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// endpointChecks are the columns of the matrix of endpoints.
var endpointChecks = []string{"methods", "another media type", "64 KiB and more", "parameter twice", "stored", "other origins read it", "posted by another site", "framed"}

// endpointRow is what an endpoint does about each of endpointChecks, in their
// order, or a reason in place of it, as in matrixCheck.
type endpointRow struct {
	at    string // the path that is asked, where the one of the surface ends in a star
	cells [8]string
}

var (
	noBody    = "- it reads no body"
	noCookie  = "- it reads no cookie"
	noPage    = "- it is no page"
	noForm    = "- it takes no form"
	clientRow = endpointRow{"", [8]string{"POST", "415", "413", "400", "no-store", "yes", noCookie, noPage}}
	pageRow   = endpointRow{"", [8]string{"GET, HEAD, POST", "415", "413", "400", "no-store", "no", "403", "never"}}
	readRow   = endpointRow{"", [8]string{"GET, HEAD", noBody, noBody, noForm, "public", "yes", noCookie, noPage}}
	shownRow  = endpointRow{"", [8]string{"GET, HEAD", noBody, noBody, noForm, "no-store", "no", "- it changes nothing", "never"}}
)

// with changes cells of a row, by the names of endpointChecks.
func (r endpointRow) with(at string, changes ...string) endpointRow {
	r.at = at
	for n := 0; n+1 < len(changes); n += 2 {
		r.cells[slices.Index(endpointChecks, changes[n])] = changes[n+1]
	}
	return r
}

var jsonForm = []string{"parameter twice", noForm}

var endpointRows = map[string]endpointRow{
	"/token":                clientRow,
	"/revoke":               clientRow,
	"/device-authorization": clientRow,
	"/device_authorization": clientRow,
	"/introspect":           clientRow.with("", "other origins read it", "no"),
	"/userinfo":             clientRow.with("", "methods", "GET, HEAD, POST"),
	"/register":             clientRow.with("", jsonForm...),
	"/register/*":           clientRow.with("", "methods", "GET, PUT, DELETE", "parameter twice", noForm),

	"/authorize":           pageRow.with("", "posted by another site", "- a client may send its request as a form (OpenID Connect Core §3.1.2.1); nothing is granted without the pages after it"),
	"/login":               pageRow,
	"/consent":             pageRow,
	"/account":             pageRow,
	"/device":              pageRow,
	"/end-session":         pageRow,
	"/applications/secret": pageRow,
	"/applications/new":    pageRow,
	"/applications/*":      pageRow,
	"/applications":        shownRow,
	"/":                    shownRow,

	"/.well-known/jwks.json":                  readRow,
	"/.well-known/openid-configuration":       readRow,
	"/.well-known/oauth-authorization-server": readRow,
}

// TestEndpointMatrix: every endpoint of the surface holds every check.
func TestEndpointMatrix(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen), func(c *Config) { c.Applications, c.Welcome = true, true })
	operator, waiting := f.signedIn(f.operator()), "/applications/"+f.requested().Reference
	self, registrant := f.selfRegistered(goodMetadata), f.visitor()
	registrant.header.Set("Authorization", "Bearer "+self.AccessToken)
	for path := range f.routes {
		if _, known := endpointRows[path]; !known {
			t.Errorf("%s is served and not checked", path)
		}
	}
	for path, row := range endpointRows {
		if row.at == "" {
			row.at = strings.NewReplacer("/applications/*", waiting, "/register/*", "/register/"+self.ID).Replace(path)
		}
		v := operator
		if path == "/register/*" {
			v = registrant
		}
		if !f.Serves(row.at) {
			t.Errorf("%s is checked and not served", path)
			continue
		}
		for n, check := range endpointChecks {
			if want := row.cells[n]; !strings.HasPrefix(want, "-") {
				if got := endpointOutcome(f, v, row.at, check); got != want {
					t.Errorf("%s, %s: %s, want %s", path, check, got, want)
				}
			}
		}
	}
}

// endpointOutcome puts an endpoint through a check, as somebody who is signed in.
func endpointOutcome(f *fixture, v *visitor, path, check string) string {
	send := func(method, body string, changes ...fixtureRequest) *httptest.ResponseRecorder {
		r := v.request(method, path, body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(path, "/register") {
			r.Header.Set("Content-Type", "application/json")
		}
		for _, change := range changes {
			change(r)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		return w
	}
	usual := http.MethodPost
	methods := send(http.MethodPatch, "").Header().Get("Allow")
	if !strings.Contains(methods, usual) {
		usual = http.MethodGet
	}
	if strings.Contains(methods, http.MethodPut) {
		usual = http.MethodPut
	}
	header := func(name string) string { return send(usual, "").Header().Get(name) }
	switch check {
	case "methods":
		return methods
	case "another media type":
		return fmt.Sprint(send(usual, "{}", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }).Code)
	case "64 KiB and more":
		return fmt.Sprint(send(usual, "x="+strings.Repeat("a", 64<<10)).Code)
	case "parameter twice":
		return fmt.Sprint(send(usual, "x=1&x=2").Code)
	case "stored":
		directives := strings.Split(header("Cache-Control"), ", ")
		if slices.Contains(directives, "no-store") {
			return "no-store"
		}
		return directives[0]
	case "other origins read it":
		w := send(usual, "", withHeader("Origin", "https://evil.test"))
		if w.Header().Get("Access-Control-Allow-Credentials") != "" {
			return "with cookies"
		}
		return map[string]string{"": "no", "*": "yes"}[w.Header().Get("Access-Control-Allow-Origin")]
	case "posted by another site":
		return postedElsewhere(f, v, path)
	case "framed":
		page := send(http.MethodGet, "").Header()
		if strings.Contains(page.Get("Content-Security-Policy"), "frame-ancestors 'none'") && page.Get("X-Frame-Options") == "DENY" {
			return "never"
		}
		return "by anybody"
	}
	return "no such check"
}

// postedElsewhere posts the form of a page, complete, as a page of another site
// would make the same browser do.
func postedElsewhere(f *fixture, v *visitor, path string) string {
	var page *shown
	switch path {
	case "/login":
		v = f.visitor()
		page = v.authorize(authorization())
	case "/consent":
		page = v.authorize(authorization("prompt", "consent"))
	case "/applications/secret":
		page = v.get(secretLinkOf(f.t, v.approve(f.requested(), service...)))
	default:
		page = v.get(path)
	}
	for _, form := range page.forms {
		if form.action != path && form.action != "" || !form.fields.Has(pages.FieldCSRF) {
			continue
		}
		if form.fields.Get(pages.FieldCSRF) != "" && len(form.buttons) > 0 {
			form.fields.Set(pages.FieldAction, form.buttons[0])
		}
		w := v.post(path, form.fields, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
		return fmt.Sprint(w.Code)
	}
	return fmt.Sprint("no form with its token at ", path, ", status ", page.Code)
}

// TestPolicyPage: docs/policy.md shows what the matrices above say.
func TestPolicyPage(t *testing.T) {
	page := policyMarkdown()
	if *updatePolicy {
		must(t, os.WriteFile(policyPage, []byte(page), 0o644))
	}
	written, err := os.ReadFile(policyPage)
	must(t, err)
	if string(written) != page {
		t.Errorf("%s is not what the tests check; write it with go test ./issuer -run TestPolicyPage -update", policyPage)
	}
}

// policyTable is a table of Markdown, whose reasons stand below it.
type policyTable struct {
	strings.Builder
	reasons []string
}

func (p *policyTable) row(cells ...string) {
	for n, cell := range cells {
		if reason, none := strings.CutPrefix(cell, "-"); none && cell != "---" {
			at := slices.Index(p.reasons, strings.TrimSpace(reason))
			if at < 0 {
				at = len(p.reasons)
				p.reasons = append(p.reasons, strings.TrimSpace(reason))
			}
			cells[n] = fmt.Sprint("(", at+1, ")")
		}
	}
	p.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (p *policyTable) end() string {
	p.WriteString("\nDoes not apply, because:\n\n")
	for n, reason := range p.reasons {
		fmt.Fprintf(p, "%d. %s\n", n+1, reason)
	}
	return p.String()
}

func policyMarkdown() string {
	var ofGrants policyTable
	head, line := []string{"check", "says"}, []string{"---", "---"}
	for _, grant := range matrixGrants {
		head, line = append(head, grant[strings.LastIndexByte(grant, ':')+1:]), append(line, "---")
	}
	ofGrants.row(head...)
	ofGrants.row(line...)
	for _, check := range matrixChecks {
		ofGrants.row(append([]string{check.name, check.must}, check.cells[:]...)...)
	}
	var ofEndpoints policyTable
	ofEndpoints.row(append([]string{"endpoint"}, endpointChecks...)...)
	ofEndpoints.row(slices.Repeat([]string{"---"}, 1+len(endpointChecks))...)
	for _, path := range slices.Sorted(maps.Keys(endpointRows)) {
		row := endpointRows[path]
		ofEndpoints.row(append([]string{"`" + path + "`"}, row.cells[:]...)...)
	}
	return policyIntroduction + ofGrants.end() + policyOfEndpoints + ofEndpoints.end()
}

const policyIntroduction = `# What is checked, and where

Most holes of this field are a check that one flow has and its sibling lacks. So each check below is made of every grant and of every endpoint, by
` + "`TestGrantMatrix` and `TestEndpointMatrix` of `issuer/policy_matrix_test.go`" + `, which send the requests; this page is written from their tables.

## Grants

Each cell is what the token endpoint answers to a request that is good but for the one thing. "token" is a token; "left out" is a token that is not
good for the thing; a status with an error code is a refusal (RFC 6749 §5.2).

`

const policyOfEndpoints = `
## Endpoints

What each endpoint answers to one who is signed in. Other methods get 405. Pages set no cookie but with ` + "`HttpOnly`, `SameSite=Lax` and `__Host-`" + `, which every
test of pages holds them to; a form counts only with the token that the page of the same browser had.

`
