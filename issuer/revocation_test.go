package issuer

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// TestRevocation: RFC 7009.
func TestRevocation(t *testing.T) {
	f := newFixture(t)
	revoke := func(t *testing.T, body string, changes ...fixtureRequest) {
		t.Helper()
		w := f.post("/revoke", body, changes...)
		expect(t, w, 200, "")
		checkNotStored(t, w)
		if w.Body.String() != "{}" {
			t.Errorf("answer %s, want {}", w.Body)
		}
	}
	for _, hint := range []string{"", "&token_type_hint=access_token", "&token_type_hint=refresh_token", "&token_type_hint=x"} {
		t.Run("§2.1 its own, at once"+hint, func(t *testing.T) {
			token, neighbour := f.issue(asSvc, ""), f.issue(asSvc, "")
			f.judge(token, true, "before")
			revoke(t, "token="+token+hint, asSvc)
			f.judge(token, false, "after")
			f.judge(neighbour, true, "another token of the client")
			revoke(t, "token="+token+hint, asSvc) // §2.2 again
		})
	}
	t.Run("§2.1 of another client: stays, and that it exists is not said", func(t *testing.T) {
		token := f.issue(asSvc, "")
		for _, as := range []fixtureRequest{asOther, asRS} {
			revoke(t, "token="+token, as)
		}
		revoke(t, "client_id=spa&token="+token)
		f.judge(token, true, "after others tried")
	})
	t.Run("§2.2 unknown is as good as revoked", func(t *testing.T) {
		for _, token := range []string{"canary", "%00", strings.Repeat("a", 60_000), f.issue(asSvc, "")[1:]} {
			revoke(t, "token="+token, asSvc)
		}
	})
	t.Run("§2.1 not authenticated", func(t *testing.T) {
		token := f.issue(asSvc, "")
		expect(t, f.post("/revoke", "token="+token), 401, oauth.InvalidClient)
		expect(t, f.post("/revoke", "token="+token, withBasic("svc", "canary")), 401, oauth.InvalidClient)
		f.judge(token, true, "after a stranger tried")
	})
	t.Run("§2.1 token is required", func(t *testing.T) {
		expect(t, f.post("/revoke", "", asSvc), 400, oauth.InvalidRequest)
		expect(t, f.post("/revoke", "token=", asSvc), 400, oauth.InvalidRequest)
		expect(t, f.post("/revoke?token=x", "", asSvc), 400, oauth.InvalidRequest)
	})
	t.Run("by the operator", func(t *testing.T) {
		token := f.issue(asSvc, "")
		if facts, err := f.RevokeToken(t.Context(), token); err != nil || facts.ClientID != "svc" {
			t.Errorf("%+v, %v", facts, err)
		}
		f.judge(token, false, "after RevokeToken")
		if _, err := f.RevokeToken(t.Context(), token); !errors.Is(err, introspect.ErrInactive) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// RFC 7009 §2: once answered, the token must not be used again; a restart and a
// reload are no exceptions.
func TestRevocationSurvivesARestart(t *testing.T) {
	f := newFixture(t)
	revoked, kept := f.issue(asSvc, ""), f.issue(asSvc, "")
	expect(t, f.post("/revoke", "token="+revoked, asSvc), 200, "")

	reloaded, err := New(t.Context(), f.config, f.state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reloaded.Introspect(t.Context(), revoked); !errors.Is(err, introspect.ErrInactive) {
		t.Errorf("after a reload: %v", err)
	}
	f.restart()
	f.judge(revoked, false, "the revoked token after a restart")
	f.judge(kept, true, "the other one after a restart")
}

// RFC 7009 §2.2.1: 503 when it could not be done, never 200.
func TestRevocationWithoutStorage(t *testing.T) {
	for _, cause := range storageFailures {
		f := newFixture(t)
		token := f.issue(asSvc, "")
		f.store.fail(cause)
		w := f.post("/revoke", "token="+token, asSvc)
		expect(t, w, 503, oauth.TemporarilyUnavailable)
		if w.Header().Get("Retry-After") == "" {
			t.Error("503 without Retry-After (RFC 7009 section 2.2.1)")
		}
		if len(f.log.event("token_revoked")) != 0 {
			t.Error("the audit trail says that it was revoked")
		}
		f.judge(token, true, "what is not written is not in force: a restart would undo it")
		f.store.recover()
		expect(t, f.post("/revoke", "token="+token, asSvc), 200, "")
		f.judge(token, false, "when the storage is back")
	}
}

// A revocation is forgotten when the token has expired by every clock, in memory
// and in the storage, and not before.
func TestRevocationIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		token := f.issue(asSvc, "")
		expect(t, f.post("/revoke", "token="+token, asSvc), 200, "")
		count := func() (memory, stored int) {
			if err := f.state.upkeep(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := f.store.View(t.Context(), func(tx storage.Tx) error {
				return tx.List(kindRevoked, "", func(string, []byte) error { stored++; return nil })
			})
			if err != nil {
				t.Fatal(err)
			}
			return f.realm.ledger.Remembered(), stored
		}
		time.Sleep(DefaultAccessTokenLifetime + ledger.Margin - 1)
		if memory, stored := count(); memory != 1 || stored != 1 {
			t.Errorf("before: %d in memory, %d stored", memory, stored)
		}
		time.Sleep(1)
		if memory, stored := count(); memory != 0 || stored != 0 {
			t.Errorf("after: %d in memory, %d stored", memory, stored)
		}
	})
}

// An issuer that cannot read its revocations must not start without them.
func TestDamagedRevocationIsRefused(t *testing.T) {
	for key, value := range map[string]string{"token x": "{", "token": "{}"} {
		f := newFixture(t)
		err := f.store.Update(t.Context(), func(tx storage.Tx) error {
			return tx.Put(kindRevoked, fixtureURL+" "+key, []byte(value), time.Time{})
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), f.config, NewState(f.store)); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("record %q %q: %v, want ErrDamaged", key, value, err)
		}
	}
}

// Whoever was told 200 must find the token dead, however many look at it
// meanwhile and put it into the cache again.
func TestRevocationAgainstIntrospection(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		token := f.issue(asSvc, "")
		var readers, revokers sync.WaitGroup
		done := make(chan struct{})
		for range 4 {
			readers.Go(func() {
				for dead := false; ; {
					select {
					case <-done:
						return
					default:
					}
					active := f.active(token)
					if dead && active {
						t.Error("a dead token came back to life")
						return
					}
					dead = dead || !active
				}
			})
		}
		f.store.hold(2)
		for range 2 {
			revokers.Go(func() {
				if w := f.post("/revoke", "token="+token, asSvc); w.Code != 200 || f.active(token) {
					t.Errorf("answer %d, active %v", w.Code, f.active(token))
				}
			})
		}
		revokers.Wait()
		close(done)
		readers.Wait()
		f.judge(token, false, "after the race")
	}
}
