package keys

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// until sleeps, in a bubble, to an offset from start.
func until(start time.Time, offset time.Duration) { time.Sleep(time.Until(start.Add(offset))) }

// OpenID Connect Core §10.1.1: a key is published before it is used, and stays
// published until what it signed has expired.
func TestRotationByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, policy := time.Now(), testPolicy()
		ring := openRing(t, openStorage(t, t.TempDir()), policy)
		first := signsWith(t, ring)

		until(start, policy.RotateEvery-policy.PublishAhead-1)
		maintain(t, ring)
		if ids := published(t, ring); !slices.Equal(ids, []string{first}) {
			t.Fatalf("before the key is due: %v", ids)
		}

		until(start, policy.RotateEvery-policy.PublishAhead)
		maintain(t, ring)
		ids := published(t, ring)
		if len(ids) != 2 || ids[0] != first {
			t.Fatalf("when the next key is due: %v", ids)
		}
		second := ids[1]
		if got := ring.List(); got[0].Status != Active || got[1].Status != Next {
			t.Errorf("statuses %+v", got)
		}

		until(start, policy.RotateEvery-1)
		if signsWith(t, ring) != first {
			t.Error("the next key signs before it is due")
		}
		until(start, policy.RotateEvery)
		if signsWith(t, ring) != second {
			t.Error("the next key does not sign from ActiveFrom on")
		}
		gone := start.Add(policy.RotateEvery + policy.MaxLifetime + clockSkew)
		if got := ring.List(); got[0].Status != Retiring || got[1].Status != Active || !got[0].GoneAt.Equal(gone) {
			t.Errorf("statuses %+v; want the first gone at %s", got, gone)
		}

		time.Sleep(time.Until(gone))
		maintain(t, ring)
		if ids := published(t, ring); !slices.Equal(ids, []string{first, second}) {
			t.Errorf("while the last token may be in force somewhere: %v", ids)
		}
		time.Sleep(1)
		maintain(t, ring)
		if ids := published(t, ring); !slices.Equal(ids, []string{second}) {
			t.Errorf("when the last token has expired everywhere: %v", ids)
		}
		if _, _, ok := ring.Public(first); ok {
			t.Error("a key that is gone still verifies")
		}
	})
}

// Shortening lifetimes must not take the key from tokens that are out; making
// them longer keeps the key for the longer ones.
func TestRetirementFollowsTheLongestLifetime(t *testing.T) {
	for name, change := range map[string][2]time.Duration{
		"shortened": {3 * time.Hour, time.Hour}, "made longer": {time.Hour, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := testPolicy()
				policy.MaxLifetime = change[0]
				ring := openRing(t, openStorage(t, t.TempDir()), policy)
				policy.MaxLifetime = change[1]
				if err := ring.Open(t.Context(), policy); err != nil {
					t.Fatal(err)
				}
				if ring.MaxLifetime() != 3*time.Hour {
					t.Errorf("MaxLifetime %s", ring.MaxLifetime())
				}
				rotate(t, ring, false)
				want := time.Now().Add(policy.PublishAhead + 3*time.Hour + clockSkew)
				if got := ring.List()[0].GoneAt; !got.Equal(want) {
					t.Errorf("gone at %s, want %s", got, want)
				}
			})
		})
	}
}

// A key that has handed over signs no more: a lifetime that grows afterwards is
// not its own.
func TestRetiredKeyKeepsItsLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := testPolicy()
		ring := openRing(t, openStorage(t, t.TempDir()), policy)
		rotate(t, ring, false)
		time.Sleep(policy.PublishAhead)
		gone := ring.List()[0].GoneAt
		policy.MaxLifetime = 10 * time.Hour
		if err := ring.Open(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		if got := ring.List()[0].GoneAt; !got.Equal(gone) {
			t.Errorf("gone at %s, was %s", got, gone)
		}
	})
}

func TestRotateTwiceMakesOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
		first := signsWith(t, ring)
		rotate(t, ring, false)
		next := ring.List()[1]
		time.Sleep(time.Minute)
		rotate(t, ring, false)
		if got := ring.List(); len(got) != 2 || got[1] != next {
			t.Fatalf("after rotating twice: %+v", got)
		}
		until(next.ActiveFrom, -1)
		if signsWith(t, ring) != first {
			t.Error("the new key signs before verifiers can know it")
		}
		until(next.ActiveFrom, 0)
		if signsWith(t, ring) != next.ID {
			t.Error("the new key does not sign when it is due")
		}
	})
}

func TestRotateImmediately(t *testing.T) {
	t.Run("makes a key that signs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
			first := signsWith(t, ring)
			time.Sleep(time.Minute)
			rotate(t, ring, true)
			if now := signsWith(t, ring); now == first || len(published(t, ring)) != 2 {
				t.Errorf("signs with %s, published %v", now, published(t, ring))
			}
		})
	})
	t.Run("brings the published key forward", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
			time.Sleep(time.Minute)
			rotate(t, ring, false)
			next := ring.List()[1].ID
			time.Sleep(time.Minute)
			rotate(t, ring, true)
			if ids := published(t, ring); len(ids) != 2 || signsWith(t, ring) != next {
				t.Errorf("signs with %s, want %s; published %v", signsWith(t, ring), next, ids)
			}
		})
	})
	// Records know whole seconds. Which of two keys of one second signs must not
	// be chance: whoever rotates because a key leaked relies on it.
	t.Run("within the second in which the key was made", func(t *testing.T) {
		for range 8 { // ids are random: a wrong order shows every other time
			synctest.Test(t, func(t *testing.T) {
				store := openStorage(t, t.TempDir())
				ring := openRing(t, store, testPolicy())
				leaked := signsWith(t, ring)
				rotate(t, ring, true)
				rotate(t, ring, true)
				time.Sleep(time.Second)
				for name, r := range map[string]*Ring{"this node": ring, "another": openRing(t, store, testPolicy())} {
					if ids := published(t, r); len(ids) != 2 || signsWith(t, r) == leaked {
						t.Errorf("%s: published %v, signs with %s, was %s", name, ids, signsWith(t, r), leaked)
					}
				}
			})
		}
	})
}

func TestAlgorithmChangesByPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := testPolicy()
		ring := openRing(t, openStorage(t, t.TempDir()), policy)
		first := signsWith(t, ring)
		policy.Algorithm = EdDSA
		for range 2 { // a second reload with the same policy changes nothing
			if err := ring.Open(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
		}
		if ids := published(t, ring); len(ids) != 2 {
			t.Fatalf("published %v", ids)
		}
		time.Sleep(policy.PublishAhead - 1)
		if signsWith(t, ring) != first || ring.Algorithm() != ES256 {
			t.Error("the new algorithm is in use before verifiers can know its key")
		}
		time.Sleep(1)
		if signsWith(t, ring) == first || ring.Algorithm() != EdDSA {
			t.Error("the new algorithm is not in use when it is due")
		}
	})
}

// A clock that was set back makes no key, loses none, and signs with the key
// that verifiers know best. Moving the records ahead is the same.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, policy := openStorage(t, t.TempDir()), testPolicy()
		ring := openRing(t, store, policy)
		rotate(t, ring, false)
		time.Sleep(policy.PublishAhead)
		ids := published(t, ring)
		if signsWith(t, ring) != ids[1] {
			t.Fatal("the second key does not sign")
		}
		rewrite(t, store, func(r *record) {
			r.Created, r.ActiveFrom = r.Created.Add(48*time.Hour), r.ActiveFrom.Add(48*time.Hour)
		})
		for name, r := range map[string]*Ring{"running": ring, "restarted": NewRing(store, testIssuer)} {
			if err := r.Open(t.Context(), policy); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := published(t, r); !slices.Equal(got, ids) || signsWith(t, r) != ids[0] {
				t.Errorf("%s: published %v, want %v; signs with %s", name, got, ids, signsWith(t, r))
			}
		}
	})
}

// Two nodes that find a key due at the same moment make one, because the
// decision is made again inside the transaction.
func TestNodesRotateAtOnce(t *testing.T) {
	store := &meetingStorage{openStorage(t, t.TempDir()), new(meeting)}
	nodes := []*Ring{NewRing(store, testIssuer), NewRing(store, testIssuer)}
	atOnce := func(do func(*Ring) error) {
		t.Helper()
		store.announce(len(nodes))
		var wait sync.WaitGroup
		for _, node := range nodes {
			wait.Go(func() {
				if err := do(node); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if a, b := published(t, nodes[0]), published(t, nodes[1]); !slices.Equal(a, b) || signsWith(t, nodes[0]) != signsWith(t, nodes[1]) {
			t.Fatalf("the nodes differ: %v and %v", a, b)
		}
	}
	atOnce(func(r *Ring) error { return r.Open(t.Context(), testPolicy()) })
	if ids := published(t, nodes[0]); len(ids) != 1 {
		t.Fatalf("first start: %v", ids)
	}
	atOnce(func(r *Ring) error { return r.Rotate(t.Context(), false) })
	if ids := published(t, nodes[0]); len(ids) != 2 {
		t.Fatalf("rotation: %v", ids)
	}
}

// Signing takes no lock; the race detector watches it during rotations.
func TestSignDuringRotation(t *testing.T) {
	ring := openRing(t, openStorage(t, t.TempDir()), testPolicy())
	var wait sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := ring.Sign("at+jwt", []byte(`{}`)); err != nil {
					t.Error(err)
					return
				}
				ring.JWKS()
				ring.List()
			}
		})
	}
	for range 10 {
		rotate(t, ring, true)
	}
	close(done)
	wait.Wait()
}
