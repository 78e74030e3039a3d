package keys

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

func revoke(t testing.TB, ring *Ring, kid string) {
	t.Helper()
	if err := ring.Revoke(t.Context(), kid); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
}

// isGone: a key that was revoked is neither published nor believed, here or on a
// node that starts now.
func isGone(t testing.TB, store storage.Storage, ring *Ring, kid string) {
	t.Helper()
	for name, r := range map[string]*Ring{"this node": ring, "another": openRing(t, store, testPolicy())} {
		if _, _, ok := r.Public(kid); ok || slices.Contains(published(t, r), kid) || signsWith(t, r) == kid {
			t.Errorf("%s: the key that was revoked is still there: %v", name, published(t, r))
		}
		if !bytes.Equal(r.JWKS(), ring.JWKS()) {
			t.Errorf("%s has other keys: %v", name, published(t, r))
		}
	}
}

func TestRevokeTheOnlyKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStorage(t, t.TempDir())
		ring := openRing(t, store, testPolicy())
		for range 3 { // within the second in which it was made, too
			kid := signsWith(t, ring)
			revoke(t, ring, kid)
			isGone(t, store, ring, kid)
			if infos := ring.List(); len(infos) != 1 || infos[0].Status != Active || infos[0].ActiveFrom.After(time.Now()) {
				t.Fatalf("afterwards there is %+v", infos)
			}
		}
	})
}

// The next key signs at once: verifiers know it already.
func TestRevokeTheActiveKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStorage(t, t.TempDir())
		ring := openRing(t, store, testPolicy())
		time.Sleep(time.Minute)
		rotate(t, ring, false)
		ids := published(t, ring)
		revoke(t, ring, ids[0])
		isGone(t, store, ring, ids[0])
		if signsWith(t, ring) != ids[1] || len(published(t, ring)) != 1 {
			t.Errorf("signs with %s; want the next one, %s", signsWith(t, ring), ids[1])
		}
	})
}

// A key that has handed over never signs again.
func TestRevokeTheActiveKeyBesideARetiringOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, policy := openStorage(t, t.TempDir()), testPolicy()
		ring := openRing(t, store, policy)
		rotate(t, ring, false)
		time.Sleep(policy.PublishAhead)
		ids := published(t, ring)
		revoke(t, ring, ids[1])
		isGone(t, store, ring, ids[1])
		if now := published(t, ring); len(now) != 2 || now[0] != ids[0] || signsWith(t, ring) != now[1] {
			t.Errorf("published %v, signs with %s; before %v", now, signsWith(t, ring), ids)
		}
	})
}

func TestRevokeAKeyThatDoesNotSign(t *testing.T) {
	for name, wait := range map[string]bool{"next": false, "retiring": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, policy := openStorage(t, t.TempDir()), testPolicy()
				ring := openRing(t, store, policy)
				rotate(t, ring, false)
				if wait {
					time.Sleep(policy.PublishAhead)
				}
				signs := signsWith(t, ring)
				ids := slices.DeleteFunc(published(t, ring), func(id string) bool { return id == signs })
				revoke(t, ring, ids[0])
				isGone(t, store, ring, ids[0])
				if now := published(t, ring); !slices.Equal(now, []string{signs}) {
					t.Errorf("published %v, want %s alone", now, signs)
				}
			})
		})
	}
}

// Where the algorithm has changed while a key was waiting, two wait: the older one
// must not take over from the one that was brought forward.
func TestRevokeWhileTwoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, policy := openStorage(t, t.TempDir()), testPolicy()
		ring := openRing(t, store, policy)
		rotate(t, ring, false)
		time.Sleep(time.Minute)
		policy.Algorithm = EdDSA
		if err := ring.Open(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		ids := published(t, ring)
		revoke(t, ring, ids[0])
		for _, after := range []time.Duration{0, policy.PublishAhead} {
			time.Sleep(after)
			if signsWith(t, ring) != ids[2] || ring.Algorithm() != EdDSA {
				t.Errorf("after %s it signs with %s; want the newest of %v", after, signsWith(t, ring), ids)
			}
		}
	})
}

// The keys of a clock that was set back behind all of them: the oldest signs, and
// when it is revoked the newest does.
func TestRevokeWithTheClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, policy := openStorage(t, t.TempDir()), testPolicy()
		ring := openRing(t, store, policy)
		rotate(t, ring, false)
		rewrite(t, store, func(r *record) { r.ActiveFrom = r.ActiveFrom.Add(48 * time.Hour) })
		maintain(t, ring)
		ids := published(t, ring)
		revoke(t, ring, ids[0])
		isGone(t, store, ring, ids[0])
		if signsWith(t, ring) != ids[1] {
			t.Errorf("signs with %s, want %s", signsWith(t, ring), ids[1])
		}
	})
}

func TestRevokeUnknownKey(t *testing.T) {
	store := openStorage(t, t.TempDir())
	ring := openRing(t, store, testPolicy())
	jwks := string(ring.JWKS())
	other := NewRing(store, "https://other.test")
	if err := other.Open(t.Context(), testPolicy()); err != nil {
		t.Fatal(err)
	}
	for name, kid := range map[string]string{"nobody's": "nobody", "empty": "", "another issuer's": published(t, other)[0]} {
		if err := ring.Revoke(t.Context(), kid); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	if string(ring.JWKS()) != jwks || len(published(t, other)) != 1 {
		t.Error("a key is gone")
	}
}

func TestRevokeWhileTheStorageFails(t *testing.T) {
	store := &failingStorage{Storage: openStorage(t, t.TempDir())}
	ring := openRing(t, store, testPolicy())
	kid := signsWith(t, ring)
	store.failing.Store(true)
	if err := ring.Revoke(t.Context(), kid); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if signsWith(t, ring) != kid {
		t.Error("a key was withdrawn here that other nodes go on with")
	}
}

// Two operators revoke at once, and one key is made.
func TestRevokeAtOnce(t *testing.T) {
	store := &meetingStorage{openStorage(t, t.TempDir()), new(meeting)}
	store.announce(1)
	nodes := []*Ring{openRing(t, store, testPolicy()), openRing(t, store, testPolicy())}
	kid := signsWith(t, nodes[0])
	store.announce(len(nodes))
	var wait sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, node := range nodes {
		wait.Go(func() { errs[i] = node.Revoke(t.Context(), kid) })
	}
	wait.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), storage.ErrNotFound) {
		t.Errorf("%v; want that one has done it and the other has found nothing", errs)
	}
	for _, node := range nodes {
		if err := node.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ids := published(t, node); len(ids) != 1 || ids[0] == kid {
			t.Errorf("published %v", ids)
		}
	}
}

// Whoever verifies tokens is told of a key that is gone, however this node has
// come to know: a cache must not believe what it has signed.
func TestNotifyWithdrawn(t *testing.T) {
	for name, learn := range map[string]func(*testing.T, *Ring, string) error{
		"Revoke":   func(t *testing.T, r *Ring, kid string) error { return r.Revoke(t.Context(), kid) },
		"Reload":   func(t *testing.T, r *Ring, _ string) error { return r.Reload(t.Context()) },
		"Maintain": func(t *testing.T, r *Ring, _ string) error { return r.Maintain(t.Context()) },
		"Rotate":   func(t *testing.T, r *Ring, _ string) error { return r.Rotate(t.Context(), false) },
		"Open":     func(t *testing.T, r *Ring, _ string) error { return r.Open(t.Context(), testPolicy()) },
	} {
		t.Run(name, func(t *testing.T) {
			store := openStorage(t, t.TempDir())
			ring, other := openRing(t, store, testPolicy()), openRing(t, store, testPolicy())
			kid, told := signsWith(t, ring), 0
			ring.NotifyWithdrawn(func() {
				if _, _, ok := ring.Public(kid); ok {
					t.Error("told while the key is still believed")
				}
				told++
			})
			rotate(t, ring, false)
			maintain(t, ring)
			if told != 0 {
				t.Error("told though no key is gone")
			}
			if name != "Revoke" {
				revoke(t, other, kid)
			}
			if err := learn(t, ring, kid); err != nil || told != 1 {
				t.Errorf("told %d times, %v", told, err)
			}
		})
	}
}
