package issuer

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// inParts reads a whole list, part by part, and checks that each is one.
func inParts[T any](t *testing.T, limit int, id func(T) string, list func(record.Part) ([]T, string, error)) (ids []string) {
	t.Helper()
	for part := (record.Part{Limit: limit}); ; {
		found, next, err := list(part)
		must(t, err)
		if len(found) > limit || len(found) == 0 && next != "" {
			t.Fatalf("a part of %d, limit %d, next %q", len(found), limit, next)
		}
		for _, one := range found {
			ids = append(ids, id(one))
		}
		switch next {
		case "":
			return ids
		case part.After:
			t.Fatalf("the part after %q is followed by itself", next)
		}
		part.After = next
	}
}

// The parts of every list are the list, whatever their size.
func TestListsInParts(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationByToken), func(c *Config) { c.Applications = true })
	alice := f.person(users.User{Username: "alice"})
	bob := f.person(users.User{Username: "bob"})
	v, w := f.signedIn(alice), f.signedIn(bob)
	for n := range 4 {
		f.add(fmt.Sprintf("n%d", n))
		f.initial(1)
		f.requested()
		v.offline()
	}
	w.offline()
	want := []string{"n0", "n1", "n2", "n3"}
	for n := range f.config.Clients {
		want = append(want, f.config.Clients[n].ID)
	}
	slices.Sort(want)
	for limit := 1; limit < 25; limit += 3 {
		ctx := context.Background()
		clientID := func(c *clients.Client) string { return c.ID }
		if got := inParts(t, limit, clientID, func(p record.Part) ([]*clients.Client, string, error) { return f.ListClients(ctx, p) }); !slices.Equal(got, want) {
			t.Errorf("limit %d: clients %v, want %v", limit, got, want)
		}
		people := inParts(t, limit, func(u *users.User) string { return u.ID }, func(p record.Part) ([]*users.User, string, error) { return f.ListUsers(ctx, p) })
		if known := []string{alice.ID, bob.ID}; len(people) != 2 || !slices.Contains(known, people[0]) || !slices.Contains(known, people[1]) {
			t.Errorf("limit %d: people %v", limit, people)
		}
		for subject, n := range map[string]int{"": 5, alice.ID: 4, bob.ID: 1, "u:nobody": 0} {
			ids := inParts(t, limit, func(a *ledger.Authorization) string { return a.ID }, func(p record.Part) ([]*ledger.Authorization, string, error) {
				return f.ListAuthorizations(ctx, subject, p)
			})
			if len(slices.Compact(slices.Clone(ids))) != n || !slices.IsSorted(ids) {
				t.Errorf("limit %d: authorizations of %q: %v", limit, subject, ids)
			}
		}
		tokens := inParts(t, limit, func(x *RegistrationToken) string { return x.ID }, func(p record.Part) ([]*RegistrationToken, string, error) { return f.ListRegistrationTokens(ctx, p) })
		requests := inParts(t, limit, func(a *Application) string { return a.Reference }, func(p record.Part) ([]*Application, string, error) { return f.ListApplications(ctx, p) })
		if slices.Sort(tokens); len(slices.Compact(tokens)) != 4 || len(slices.Compact(requests)) != 4 || !slices.IsSorted(requests) {
			t.Errorf("limit %d: %d registration tokens, %d requests", limit, len(tokens), len(requests))
		}
	}
}

// A client that is declared now was perhaps made at run time before: it is listed
// once, as what it is.
func TestListClientsDeclaredOver(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"m", "n", "z"} {
		f.add(id)
	}
	registry := clients.NewRegistry(f.store, fixtureURL, oauth.Scope{"read", "write"}, []clients.Client{
		{Metadata: clients.Metadata{ID: "n", Type: clients.Public}}, {Metadata: clients.Metadata{ID: "zz", Type: clients.Public}},
	})
	for limit := 1; limit < 6; limit++ {
		ids := inParts(t, limit, func(c *clients.Client) string { return fmt.Sprint(c.ID, c.Declared) }, func(p record.Part) ([]*clients.Client, string, error) {
			return registry.Part(t.Context(), p)
		})
		if want := []string{"mfalse", "ntrue", "zfalse", "zztrue"}; !slices.Equal(ids, want) {
			t.Errorf("limit %d: %v", limit, ids)
		}
	}
}
