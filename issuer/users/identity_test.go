package users

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func link(t *testing.T, u *Users, provider, subject string, profile User) *User {
	t.Helper()
	user, err := u.Link(t.Context(), provider, subject, profile)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// OpenID Connect Core §5.7: iss and sub together are the only identifier; "other
// Claims ... MUST NOT be used as unique identifiers for the End-User".
func TestLinkNeverTakesOverAnAccount(t *testing.T) {
	u := newUsers(t)
	local, err := u.Add(t.Context(), User{Username: "alice", Email: "alice@example.org", EmailVerified: true, Operator: true}, good)
	if err != nil {
		t.Fatal(err)
	}
	profile := User{ID: local.ID, Username: "alice", Email: "alice@example.org", EmailVerified: true, Operator: true, Password: local.Password}
	linked := link(t, u, "up", "1", profile)
	if linked.ID == local.ID || linked.Operator || linked.Password != "" || linked.Username != "up:alice" {
		t.Errorf("%+v", linked)
	}
	if other := link(t, u, "up", "2", profile); other.ID == linked.ID {
		t.Error("another subject is the same person")
	}
	if other := link(t, u, "up2", "1", profile); other.ID == linked.ID {
		t.Error("another provider's subject is the same person")
	}
	if a, b := link(t, u, "ab", "c", User{}), link(t, u, "a", "bc", User{}); a.ID == b.ID {
		t.Error("provider and subject run together")
	}
	if found, err := u.Find(t.Context(), "alice"); err != nil || found.ID != local.ID {
		t.Errorf("%+v, %v", found, err)
	}
	_, err = u.Authenticate(t.Context(), "up:alice", good, home)
	wantError(t, err, ErrWrongPassword)
	wantError(t, u.SetPassword(t.Context(), linked.ID, good, nil), ErrExternal)
}

func TestLinkKeepsTheProfileUpToDate(t *testing.T) {
	u := newUsers(t)
	first := link(t, u, "up", "1", User{Username: "alice", Email: "a@example.org", EmailVerified: true})
	if _, err := u.Update(t.Context(), first.ID, func(user *User) error { user.Operator = true; return nil }); err != nil {
		t.Fatal(err)
	}
	next := link(t, u, "up", "1", User{Email: "b@example.org"})
	if next.ID != first.ID || next.Email != "b@example.org" || next.EmailVerified || next.Username != "up:1" || !next.Operator {
		t.Errorf("%+v", next)
	}
	if got, err := u.Get(t.Context(), first.ID); err != nil || *got != *next {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLinkAtOnceMakesOneUser(t *testing.T) {
	u := newUsers(t)
	var ids [16]string
	var failed atomic.Int32
	together(len(ids), func(i int) {
		user, err := u.Link(t.Context(), "up", "1", User{})
		if err != nil {
			failed.Add(1)
			return
		}
		ids[i] = user.ID
	})
	all, _, err := u.Part(t.Context(), everybody)
	if failed.Load() != 0 || err != nil || len(all) != 1 {
		t.Fatalf("%d failed, %d users, %v", failed.Load(), len(all), err)
	}
	for _, id := range ids {
		if id != all[0].ID {
			t.Errorf("subject %q, want %q", id, all[0].ID)
		}
	}
}

func TestLinkOfDisabledAndRemoved(t *testing.T) {
	u := newUsers(t)
	user := link(t, u, "up", "1", User{})
	if _, err := u.Update(t.Context(), user.ID, func(user *User) error { user.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := u.Link(t.Context(), "up", "1", User{Name: "new"})
	wantError(t, err, ErrDisabled)
	if err := u.Remove(t.Context(), user.ID, nil); err != nil {
		t.Fatal(err)
	}
	if again := link(t, u, "up", "1", User{}); again.ID == user.ID {
		t.Error("a subject was given away again")
	}
	_, err = u.Get(t.Context(), user.ID)
	wantError(t, err, storage.ErrNotFound)
}

func TestLinkRefusesWhatIsNoIdentity(t *testing.T) {
	u := newUsers(t)
	for why, c := range map[string][2]string{
		"no provider": {"", "1"}, "no subject": {"up", ""},
		"subject of more than 255 characters (OpenID Connect Core §2)": {"up", strings.Repeat("1", maxSubject+1)},
		"provider too long": {strings.Repeat("p", maxProvider+1), "1"},
	} {
		if _, err := u.Link(t.Context(), c[0], c[1], User{}); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
}
