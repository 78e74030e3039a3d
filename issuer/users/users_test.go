package users

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

const (
	issuer  = "https://id.example"
	good    = "correct horse battery"
	another = "staple staple horse"
	home    = "192.0.2.1"
)

// everybody is a part that is longer than the lists of these tests.
var everybody = record.Part{Limit: 100}

func openStorage(t testing.TB) storage.Storage {
	t.Helper()
	store, err := bolt.Open(filepath.Join(t.TempDir(), "storage.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newUsers(t testing.TB) *Users {
	t.Helper()
	return New(openStorage(t), issuer)
}

func add(t testing.TB, u *Users, username, password string) *User {
	t.Helper()
	user, err := u.Add(t.Context(), User{Username: username}, password)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// together runs n goroutines that start at the same instant.
func together(n int, run func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-start; run(i) })
	}
	close(start)
	wg.Wait()
}

func TestAddedUserIsFound(t *testing.T) {
	u := newUsers(t)
	added, err := u.Add(t.Context(), User{
		ID: "u:chosen", Username: "Alice", Name: "Alice A.", Email: "alice@example.org",
		Address: Address{Locality: "Riga"}, Operator: true, Password: "made up", Provider: "p", ProviderSubject: "s",
	}, good)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(added.ID, "u:") || len(added.ID) != 2+22 || added.ID == "u:chosen" {
		t.Errorf("subject %q", added.ID)
	}
	if added.Provider != "" || added.Password == "made up" || added.Created.IsZero() || added.PasswordChanged.IsZero() {
		t.Errorf("not set by Add: %+v", added)
	}
	got, err := u.Get(t.Context(), added.ID)
	if err != nil || *got != *added {
		t.Errorf("Get: %+v, %v, want %+v", got, err, added)
	}
	found, err := u.Find(t.Context(), "aLICE")
	if err != nil || *found != *added {
		t.Errorf("Find: %+v, %v", found, err)
	}
	all, _, err := u.Part(t.Context(), everybody)
	if err != nil || len(all) != 1 || *all[0] != *added {
		t.Errorf("Part: %v, %v", all, err)
	}
}

// RFC 8265 §3.3: names that compare equal are one name.
func TestEqualNamesAreOneUser(t *testing.T) {
	for _, c := range []struct{ why, first, second string }{
		{"the same", "alice", "alice"},
		{"case", "alice", "ALICE"},
		{"case beyond ASCII", "jürgen", "JÜRGEN"},
		{"width", "alice", "ａｌｉｃｅ"},
		{"composition", "jürgen", "ju\u0308rgen"},
	} {
		t.Run(c.why, func(t *testing.T) {
			u := newUsers(t)
			add(t, u, c.first, "")
			_, err := u.Add(t.Context(), User{Username: c.second}, "")
			wantError(t, err, ErrExists)
		})
	}
}

func TestNamesThatNoOneCanHave(t *testing.T) {
	u := newUsers(t)
	for why, name := range map[string]string{
		"empty": "", "space": "al ice", "colon (RFC 7617 §2)": "al:ice", "wide colon": "al：ice", "control": "al\x00ice", "new line": "alice\n",
		"not UTF-8": "al\xffice", "too long": strings.Repeat("a", maxUsername+1), "zero width": "al\u200bice",
		"not in both directions (RFC 5893)": "aליס",
	} {
		if _, err := u.Add(t.Context(), User{Username: name}, ""); !errors.Is(err, ErrUsername) {
			t.Errorf("%s: Add: %v", why, err)
		}
		if _, err := u.Find(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: Find: %v", why, err)
		}
	}
}

func TestTwoAddsOfOneNameMakeOneUser(t *testing.T) {
	u := newUsers(t)
	var won, lost atomic.Int32
	together(16, func(i int) {
		switch _, err := u.Add(t.Context(), User{Username: []string{"alice", "Alice"}[i%2]}, ""); {
		case err == nil:
			won.Add(1)
		case errors.Is(err, ErrExists):
			lost.Add(1)
		default:
			t.Error(err)
		}
	})
	all, _, err := u.Part(t.Context(), everybody)
	if won.Load() != 1 || lost.Load() != 15 || len(all) != 1 || err != nil {
		t.Errorf("%d won, %d lost, %d users, %v", won.Load(), lost.Load(), len(all), err)
	}
}

func TestIssuersOfOneStorageAreApart(t *testing.T) {
	store := openStorage(t)
	a, b := New(store, issuer), New(store, issuer+"/b")
	user := add(t, a, "alice", good)
	if _, err := b.Get(t.Context(), user.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
	_, err := b.Authenticate(t.Context(), "alice", good, home)
	wantError(t, err, ErrWrongPassword)
	add(t, b, "alice", another)
	if all, _, err := a.Part(t.Context(), everybody); err != nil || len(all) != 1 || all[0].ID != user.ID {
		t.Errorf("%v, %v", all, err)
	}
}

func TestJSONOfAUserHasNoHash(t *testing.T) {
	text, err := json.Marshal(add(t, newUsers(t), "alice", good))
	if err != nil || strings.Contains(string(text), "argon2") || strings.Contains(string(text), "$") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestRemove(t *testing.T) {
	u := newUsers(t)
	user := add(t, u, "alice", good)
	stop := errors.New("stop")
	wantError(t, u.Remove(t.Context(), user.ID, func(storage.Tx) error { return stop }), stop)
	if _, err := u.Find(t.Context(), "alice"); err != nil {
		t.Fatalf("removed although the rest was not: %v", err)
	}
	called := false
	err := u.Remove(t.Context(), user.ID, func(tx storage.Tx) error {
		called = true
		_, err := Get(tx, issuer, user.ID)
		wantError(t, err, storage.ErrNotFound)
		return nil
	})
	if err != nil || !called {
		t.Fatal(err, called)
	}
	wantError(t, u.Remove(t.Context(), user.ID, nil), storage.ErrNotFound)
	_, err = u.Find(t.Context(), "alice")
	wantError(t, err, storage.ErrNotFound)
	if next := add(t, u, "alice", another); next.ID == user.ID {
		t.Error("a subject was given away again") // OpenID Connect Core §2: "never reassigned"
	}
}

func TestUpdate(t *testing.T) {
	u := newUsers(t)
	user := add(t, u, "alice", good)
	changed, err := u.Update(t.Context(), user.ID, func(user *User) error { user.Operator = true; return nil })
	if err != nil || !changed.Operator || changed.Password != user.Password {
		t.Fatalf("%+v, %v", changed, err)
	}
	for why, change := range map[string]func(*User){
		"subject": func(u *User) { u.ID = "u:other" }, "username": func(u *User) { u.Username = "bob" },
		"password": func(u *User) { u.Password = "" }, "provider": func(u *User) { u.Provider = "p" },
		"created": func(u *User) { u.Created = u.Created.Add(1) },
	} {
		_, err := u.Update(t.Context(), user.ID, func(user *User) error { change(user); return nil })
		if !errors.Is(err, ErrFixed) {
			t.Errorf("%s: %v", why, err)
		}
	}
	stop := errors.New("stop")
	_, err = u.Update(t.Context(), user.ID, func(user *User) error { user.Name = "x"; return stop })
	wantError(t, err, stop)
	if got, err := u.Get(t.Context(), user.ID); err != nil || *got != *changed {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = u.Update(t.Context(), "u:nobody", func(*User) error { return nil })
	wantError(t, err, storage.ErrNotFound)
}

func TestSetPassword(t *testing.T) {
	u := newUsers(t)
	user := add(t, u, "alice", good)
	stop := errors.New("stop")
	wantError(t, u.SetPassword(t.Context(), user.ID, another, func(storage.Tx) error { return stop }), stop)
	if _, err := u.Authenticate(t.Context(), "alice", good, home); err != nil {
		t.Fatalf("changed although the rest was not: %v", err)
	}
	wantError(t, u.SetPassword(t.Context(), user.ID, "short", nil), ErrPasswordShort)
	wantError(t, u.SetPassword(t.Context(), user.ID, "", nil), ErrPasswordShort)
	wantError(t, u.SetPassword(t.Context(), "u:nobody", another, nil), storage.ErrNotFound)
	if err := u.SetPassword(t.Context(), user.ID, another, nil); err != nil {
		t.Fatal(err)
	}
	_, err := u.Authenticate(t.Context(), "alice", good, home)
	wantError(t, err, ErrWrongPassword)
	if _, err := u.Authenticate(t.Context(), "alice", another, home); err != nil {
		t.Error(err)
	}
}

// A record that cannot be read is "cannot tell": the name is neither free nor
// without a password.
func TestDamage(t *testing.T) {
	for why, value := range map[string]string{
		"no JSON": "{", "null": "null", "hash": `{"sub":"u:x","username":"alice","password":"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"}`,
		"missing": "",
	} {
		t.Run(why, func(t *testing.T) {
			u := newUsers(t)
			user := add(t, u, "alice", "")
			err := u.storage.Update(context.Background(), func(tx storage.Tx) error {
				if value == "" {
					return tx.Delete(kindUser, key(issuer, user.ID))
				}
				return tx.Put(kindUser, key(issuer, user.ID), []byte(value), user.Created.AddDate(100, 0, 0))
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = u.Authenticate(t.Context(), "alice", good, home)
			wantError(t, err, storage.ErrDamaged)
			if strings.Contains(err.Error(), "argon2") {
				t.Errorf("the error quotes the hash: %v", err)
			}
			_, err = u.Add(t.Context(), User{Username: "alice"}, "")
			wantError(t, err, ErrExists)
		})
	}
}
