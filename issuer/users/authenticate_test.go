package users

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func TestAuthenticate(t *testing.T) {
	u := newUsers(t)
	alice := add(t, u, "alice", "ｃorrect horse café 1")
	for why, c := range map[string][2]string{
		"as typed":               {"alice", "ｃorrect horse café 1"},
		"name in another case":   {"ALICE", "ｃorrect horse café 1"},
		"decomposed (RFC 8265)":  {"alice", "ｃorrect horse cafe\u0301 1"},
		"non-ASCII space (§4.2)": {"alice", "ｃorrect\u00a0horse café 1"},
	} {
		if user, err := u.Authenticate(t.Context(), c[0], c[1], home); err != nil || user.ID != alice.ID {
			t.Errorf("%s: %v, %v", why, user, err)
		}
	}
}

// Whoever does not get in learns nothing of why: neither from the error nor from
// the work that was done.
func TestRefusalsAreAlike(t *testing.T) {
	u := newUsers(t)
	add(t, u, "alice", good)
	add(t, u, "nopassword", "")
	disabled := add(t, u, "disabled", good)
	if _, err := u.Update(t.Context(), disabled.ID, func(user *User) error { user.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ why, name, password string }{
		{"wrong password", "alice", another},
		{"case of the password", "alice", strings.ToUpper(good)},
		{"nobody", "nobody", good},
		{"a name no one can have", "no body", good},
		{"someone without a password", "nopassword", good},
		{"disabled", "disabled", good},
		{"disabled, wrong password", "disabled", another},
	} {
		before := u.hasher.count.Load()
		user, err := u.Authenticate(t.Context(), c.name, c.password, c.why)
		if err != ErrWrongPassword || user != nil {
			t.Errorf("%s: %v, %v", c.why, user, err)
		}
		if n := u.hasher.count.Load() - before; n != 1 {
			t.Errorf("%s: %d hashes", c.why, n)
		}
		u.throttle = newThrottle()
	}
}

// A password that cannot be anyone's costs nothing and counts for nothing.
func TestImpossiblePasswordsAreNotHashed(t *testing.T) {
	u := newUsers(t)
	add(t, u, "alice", good)
	before := u.hasher.count.Load()
	for range 20 {
		for _, password := range []string{"", strings.Repeat("a", MaxPassword+1), "\x00", "\xff"} {
			_, err := u.Authenticate(t.Context(), "alice", password, home)
			wantError(t, err, ErrWrongPassword)
		}
	}
	if n := u.hasher.count.Load() - before; n != 0 {
		t.Errorf("%d hashes", n)
	}
}

func TestThrottledAttemptIsNotHashed(t *testing.T) {
	u := newUsers(t)
	u.hasher = newHasher(cheap) // however slow the machine, the wait is not over when they are
	add(t, u, "alice", good)
	for range freeFailures + 1 {
		_, err := u.Authenticate(t.Context(), "alice", another, home)
		wantError(t, err, ErrWrongPassword)
	}
	before := u.hasher.count.Load()
	_, err := u.Authenticate(t.Context(), "alice", good, home)
	throttled, ok := errors.AsType[*ThrottledError](err)
	if !ok || throttled.Wait <= 0 || throttled.Wait > firstWait {
		t.Errorf("error %v", err)
	}
	if n := u.hasher.count.Load() - before; n != 0 {
		t.Errorf("%d hashes", n)
	}
}

// Attempts that come at once are counted as if they came one by one.
func TestFloodGetsNoMoreThanTheFreeAttempts(t *testing.T) {
	u := newUsers(t)
	u.hasher = newHasher(cheap) // nobody waits too long for a slot
	add(t, u, "alice", good)
	var looked atomic.Int32
	together(40, func(int) {
		if _, err := u.Authenticate(t.Context(), "alice", another, home); errors.Is(err, ErrWrongPassword) {
			looked.Add(1)
		}
	})
	if n := looked.Load(); n != freeFailures+1 {
		t.Errorf("%d attempts were looked at, want %d", n, freeFailures+1)
	}
}

func TestTooBusy(t *testing.T) {
	u := newUsers(t)
	add(t, u, "alice", good)
	synctest.Test(t, func(t *testing.T) {
		u.hasher.slots = make(chan struct{}, 1) // of this bubble
		if err := u.hasher.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 2 * freeFailures {
			_, err := u.hasher.matches(t.Context(), good, passwordHash{})
			wantError(t, err, ErrTooBusy)
		}
		if waited := time.Since(start); waited != 2*freeFailures*maxHashWait {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := u.hasher.hash(ctx, good)
		wantError(t, err, context.Canceled)
		u.hasher.release()
	})
}

// What was not looked at is no failure: a busy server locks no one out.
func TestAttemptThatWasNotLookedAtDoesNotCount(t *testing.T) {
	u := newUsers(t)
	add(t, u, "alice", good)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 * freeFailures {
		_, err := u.Authenticate(ctx, "alice", another, home)
		wantError(t, err, context.Canceled)
	}
	if _, err := u.Authenticate(t.Context(), "alice", good, home); err != nil {
		t.Error(err)
	}
	if n := len(u.throttle.pairs.entries) + len(u.throttle.accounts.entries) + len(u.throttle.addresses.entries); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func setHash(t *testing.T, u *Users, id, hash string) {
	t.Helper()
	err := u.storage.Update(t.Context(), func(tx storage.Tx) error {
		user, err := Get(tx, issuer, id)
		if err != nil {
			return err
		}
		user.Password = hash
		return put(tx, issuer, user)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOutdatedHashIsRenewedAtSignIn(t *testing.T) {
	u := newUsers(t)
	user := add(t, u, "alice", good)
	setHash(t, u, user.ID, referenceHash)
	_, err := u.Authenticate(t.Context(), "alice", another, home)
	wantError(t, err, ErrWrongPassword)
	if got, _ := u.Get(t.Context(), user.ID); got.Password != referenceHash {
		t.Error("renewed without the password")
	}
	got, err := u.Authenticate(t.Context(), "alice", "password", home)
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := parsePasswordHash(got.Password); err != nil || u.hasher.outdated(hash) {
		t.Errorf("%q, %v", got.Password, err)
	}
	before := u.hasher.count.Load()
	again, err := u.Authenticate(t.Context(), "alice", "password", home)
	if err != nil || *again != *got || u.hasher.count.Load() != before+1 {
		t.Errorf("renewed once more: %+v, %v", again, err)
	}
}

// A password that was changed while it was being proven is not the password.
func TestRenewalDoesNotUndoAChange(t *testing.T) {
	u := newUsers(t)
	user := add(t, u, "alice", good)
	old := *user
	old.Password = referenceHash
	_, err := u.rehash(t.Context(), &old, "password")
	wantError(t, err, ErrWrongPassword)
	if got, err := u.Get(t.Context(), user.ID); err != nil || got.Password != user.Password {
		t.Errorf("%+v, %v", got, err)
	}
}
