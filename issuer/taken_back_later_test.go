package issuer

import (
	"encoding/json"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// What was taken back stays so for whoever comes later: after a restart, on another
// node, in the next exchange. Each of these was open once.

// A token that stands in for the client's secret gives nothing that lives longer than
// it: whoever has seen it could make it last.
func TestExchangeOutlivesNoProof(t *testing.T) {
	f, p := newExchange(t)
	now := time.Now().Unix()
	claims, err := json.Marshal(accessTokenClaims{
		Issuer: fixtureURL, Subject: "imp", ClientID: "imp", Audience: audience{fixtureAPI}, Scope: oauth.Scope{"read"},
		IssuedAt: now, Expiry: now + 20, ID: "short",
	})
	must(t, err)
	short, err := f.realm.keys.Sign(typeAccessToken, claims)
	must(t, err)
	byToken := withHeader("Authorization", "Bearer "+short)
	for what, actor := range map[string]url.Values{
		"impersonation":      {"actor_token": nil, "actor_token_type": nil},
		"with another token": {"actor_token": {f.issue(withBasic("imp", "canary-imp"), "")}},
	} {
		if got := exchangedOf(t, f.exchange(p.token(nil, nil), actor, byToken)); got.ExpiresIn > 20 {
			t.Errorf("%s: good for %d seconds, and the proof for 20", what, got.ExpiresIn)
		}
	}
}

// For whom an issuer has vouched that is trusted no more, nothing new is given:
// neither for its tokens nor for those of ours that they were exchanged for.
func TestExchangeOfTrustTakenBack(t *testing.T) {
	f, p := newExchange(t)
	before := exchangedOf(t, f.exchange(p.token(nil, nil), nil)).AccessToken
	exchangedOf(t, f.exchange(before, nil))
	f.config.TrustedIssuers = nil
	f.restart()
	expect(t, f.exchange(p.token(nil, nil), nil), 400, oauth.InvalidRequest)
	expect(t, f.exchange(before, nil), 400, oauth.InvalidRequest)
}

// A token that a client gets while it is disabled or removed ends with the rest, in
// the eyes of those too who only know what was written: this server after a
// restart, and every other node.
func TestTokensOfTheNextSecondAfterARestart(t *testing.T) {
	take := map[string]func(f *fixture, id string) error{
		"disabled": func(f *fixture, id string) error { _, err := f.DisableClient(f.t.Context(), id); return err },
		"removed":  func(f *fixture, id string) error { return f.RemoveClient(f.t.Context(), id) },
	}
	for name, take := range take {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				delayed := &delayedStorage{Storage: f.store.Storage}
				f.store.Storage = delayed
				made, secret, err := f.AddClient(t.Context(), clients.Metadata{GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"read"}})
				must(t, err)
				var late string
				meanwhile := func() {
					time.Sleep(1100 * time.Millisecond)
					late = f.issue(withBasic(made.ID, secret), "")
				}
				delayed.meanwhile.Store(&meanwhile)
				must(t, take(f, made.ID))
				f.judge(late, false, "here")
				f.restart()
				f.judge(late, false, "where only the record is known")
			})
		})
	}
}

// Clocks of nodes may differ by a minute. A token that another node gave before its
// client was disabled ends with the rest, though its time is still to come here.
func TestTokensOfAFasterClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.Issuer, _ = secondNode(t, f)
		made, secret, err := f.AddClient(t.Context(), clients.Metadata{GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"read"}})
		must(t, err)
		there := time.Now().Add(50 * time.Second).Unix()
		claims, err := json.Marshal(accessTokenClaims{
			Issuer: fixtureURL, Subject: made.ID, ClientID: made.ID, Audience: audience{fixtureAPI}, Scope: oauth.Scope{"read"},
			IssuedAt: there, Expiry: there + 3600, ID: "of-the-other-node",
		})
		must(t, err)
		early, err := f.realm.keys.Sign(typeAccessToken, claims)
		must(t, err)
		f.judge(early, true, "of the other node")
		must2nd(f.DisableClient(t.Context(), made.ID))(t)
		f.judge(early, false, "its client is disabled")
		second, shared := secondNode(t, f)
		f.Issuer = second
		f.judge(early, false, "in the eyes of a node that reads of it")
		time.Sleep(time.Hour)
		must(t, f.state.upkeep(t.Context()))
		shared.hears(t)
		f.judge(early, false, "an hour later")
		must2nd(f.EnableClient(t.Context(), made.ID))(t)
		f.judge(f.issue(withBasic(made.ID, secret), ""), true, "after it was enabled")
	})
}

// A client that the configuration declared ends with the line that declared it, and
// so does what it holds.
func TestDeclaredClientTakenBack(t *testing.T) {
	for name, take := range map[string]func(*clients.Client) bool{
		"removed":  func(*clients.Client) bool { return true },
		"disabled": func(c *clients.Client) bool { c.Disabled = true; return false },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withPeople)
			own := f.issue(asSvc, "")
			other := f.issue(asOther, "")
			made, secret, err := f.AddClient(t.Context(), clients.Metadata{GrantTypes: []string{"client_credentials"}, Scope: oauth.Scope{"read"}})
			must(t, err)
			stored := f.issue(withBasic(made.ID, secret), "")
			before, state := f.Forgotten(), f.state
			f.config.Clients = slices.DeleteFunc(slices.Clone(f.config.Clients), func(c clients.Client) bool { return c.ID == "svc" })
			if svc := f.declared("svc"); !take(&svc) {
				f.config.Clients = append(f.config.Clients, svc)
			}
			old := f.Issuer
			if f.Issuer, err = New(t.Context(), f.config, state); err != nil { // a reload
				t.Fatal(err)
			}
			f.judge(own, false, "its token")
			f.judge(other, true, "another's")
			f.judge(stored, true, "one of a client in the storage")
			if old.Forgotten() == before {
				t.Error("who relies on tokens is not told to ask again")
			}
			if _, err := old.Introspect(t.Context(), own); err == nil {
				t.Error("a gate of the configuration before lets it pass")
			}
			f.restart()
			f.judge(own, false, "its token after a restart")
			f.judge(stored, true, "one of a client in the storage, after a restart")
		})
	}
}

// declared is a copy of a client of the configuration.
func (f *fixture) declared(id string) clients.Client {
	f.t.Helper()
	client, err := f.Client(f.t.Context(), id)
	must(f.t, err)
	return *client
}
