package issuer

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// TestRevokeKey: what a revoked key has signed is refused on the next request,
// though it was verified before; on another node as soon as that hears of it, and
// whether its upkeep or the news comes first. A new key signs at once.
func TestRevokeKey(t *testing.T) {
	for name, learn := range map[string]func(*testing.T, *Issuer, *sharedStorage){
		"the news first": func(t *testing.T, _ *Issuer, shared *sharedStorage) { shared.hears(t) },
		"the upkeep first": func(t *testing.T, other *Issuer, shared *sharedStorage) {
			if err := other.state.upkeep(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				other, shared := secondNode(t, f)
				shared.hears(t)
				token := f.issue(asSvc, "")
				for _, node := range []*Issuer{f.Issuer, other} {
					if _, err := node.Introspect(t.Context(), token); err != nil {
						t.Fatal("before:", err)
					}
				}
				revoked := f.Keys()[0].ID
				if err := f.RevokeKey(t.Context(), revoked); err != nil {
					t.Fatal(err)
				}
				if _, err := f.Introspect(t.Context(), token); !errors.Is(err, introspect.ErrInactive) {
					t.Error("on this node:", err)
				}
				if body := f.get(f.config.URL + "/.well-known/jwks.json").Body.String(); strings.Contains(body, revoked) {
					t.Error("the key is still published:", body)
				}
				young := f.issue(asSvc, "")
				if _, err := f.Introspect(t.Context(), young); err != nil {
					t.Error("a new token:", err)
				}
				learn(t, other, shared)
				if _, err := other.Introspect(t.Context(), token); !errors.Is(err, introspect.ErrInactive) {
					t.Error("on the other node:", err)
				}
				if _, err := other.Introspect(t.Context(), young); err != nil {
					t.Error("a new token on the other node:", err)
				}
			})
		})
	}
}

func TestRevokeKeyThatIsNotThere(t *testing.T) {
	f := newFixture(t)
	if err := f.RevokeKey(t.Context(), "nobody"); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
	if w := f.get(f.config.URL + "/.well-known/jwks.json"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), f.Keys()[0].ID) {
		t.Error("the key is gone:", w.Body)
	}
}
