package keys

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The nodes of a cluster are rings of one issuer on one storage, each with a
// memory of its own, that hear of each other by Reload.

// rotateByAge has nodes find the same key of age at the same moment. The key's
// times are moved, so that it works where time cannot be bent.
func rotateByAge(t *testing.T, store *meetingStorage, nodes ...*Ring) {
	t.Helper()
	policy := testPolicy()
	rewrite(t, store.Storage, func(r *record) {
		r.Created, r.ActiveFrom = r.Created.Add(-policy.RotateEvery), r.ActiveFrom.Add(-policy.RotateEvery)
	})
	store.announce(len(nodes))
	began := time.Now()
	var wait sync.WaitGroup
	for _, node := range nodes {
		wait.Go(func() {
			if err := node.Maintain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for i, node := range nodes {
		infos := node.List()
		if len(infos) != 2 || infos[1].Status != Next {
			t.Fatalf("node %d: %+v; want one key more", i, infos)
		}
		if infos[1].ActiveFrom.Before(began.Add(policy.PublishAhead)) {
			t.Errorf("node %d: the key signs from %s on, %s after it was made", i, infos[1].ActiveFrom, infos[1].ActiveFrom.Sub(began))
		}
		if !bytes.Equal(node.JWKS(), nodes[0].JWKS()) || signsWith(t, node) != infos[0].ID {
			t.Errorf("node %d: %v and %v; signs with %s", i, published(t, node), published(t, nodes[0]), signsWith(t, node))
		}
	}
}

// Nodes whose key comes of age at the same moment make one.
func TestNodesRotateByAgeAtOnce(t *testing.T) {
	store := &meetingStorage{openStorage(t, t.TempDir()), new(meeting)}
	store.announce(1)
	var nodes []*Ring
	for range 3 {
		nodes = append(nodes, openRing(t, store, testPolicy()))
	}
	rotateByAge(t, store, nodes...)
}

// A key must be published for PublishAhead, not for a fraction of a second less:
// a verifier may have fetched the JWKS right before.
func TestNoKeySignsBeforeItIsKnown(t *testing.T) {
	for name, make := range map[string]func(*testing.T, *Ring, *Policy) error{
		"by age": func(t *testing.T, r *Ring, p *Policy) error {
			time.Sleep(p.RotateEvery)
			return r.Maintain(t.Context())
		},
		"by hand": func(t *testing.T, r *Ring, _ *Policy) error { return r.Rotate(t.Context(), false) },
		"by another algorithm": func(t *testing.T, r *Ring, p *Policy) error {
			p.Algorithm = EdDSA
			return r.Open(t.Context(), *p)
		},
	} {
		for _, fraction := range []time.Duration{0, 1, time.Second / 2, time.Second - 1} {
			t.Run(name+" "+fraction.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					policy := testPolicy()
					ring := openRing(t, openStorage(t, t.TempDir()), policy)
					time.Sleep(time.Minute + fraction)
					first := signsWith(t, ring)
					if err := make(t, ring, &policy); err != nil {
						t.Fatal(err)
					}
					made := time.Now()
					if len(published(t, ring)) != 2 {
						t.Fatalf("published %v", published(t, ring))
					}
					until(made, policy.PublishAhead-1)
					if signsWith(t, ring) != first {
						t.Error("it signs too early")
					}
					until(made, policy.PublishAhead+time.Second)
					if signsWith(t, ring) == first {
						t.Error("it does not sign")
					}
				})
			})
		}
	}
}

// Two rotations of two nodes, minute by minute: both sign with the same key,
// neither signs with one that has not been published on both for PublishAhead, and
// what either has signed verifies on both until it expires.
func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, policy, store := time.Now(), testPolicy(), openStorage(t, t.TempDir())
		nodes := []*Ring{openRing(t, store, policy), openRing(t, store, policy)}
		type token struct {
			kid     string
			expires time.Time
		}
		var out []token
		first := signsWith(t, nodes[0])
		knownSince := make(map[string]time.Time) // on both nodes
		for time.Since(start) < 2*policy.RotateEvery+3*policy.MaxLifetime {
			// The upkeep of the two comes at different times; each hears of what the
			// other does within a second.
			for i, node := range nodes {
				maintain(t, node)
				time.Sleep(time.Second)
				if err := nodes[1-i].Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := signsWith(t, nodes[0]), signsWith(t, nodes[1]); a != b {
				t.Fatalf("after %s they sign with %s and %s", time.Since(start), a, b)
			}
			for _, kid := range published(t, nodes[0]) {
				if _, _, ok := nodes[1].Public(kid); ok && knownSince[kid].IsZero() {
					knownSince[kid] = time.Now()
				}
			}
			kid := signsWith(t, nodes[0])
			// A second of it is the way to the other node.
			if since := time.Since(knownSince[kid]); kid != first && since < policy.PublishAhead-2*time.Second {
				t.Fatalf("%s signs after it was known for %s", kid, since)
			}
			out = append(out, token{kid, time.Now().Add(policy.MaxLifetime)})
			out = slices.DeleteFunc(out, func(tok token) bool { return !time.Now().Before(tok.expires.Add(clockSkew)) })
			for _, tok := range out {
				for i, node := range nodes {
					if _, _, ok := node.Public(tok.kid); !ok {
						t.Fatalf("after %s node %d does not know %s, whose token expires in %s", time.Since(start), i, tok.kid, time.Until(tok.expires))
					}
				}
			}
			time.Sleep(time.Minute - 2*time.Second)
		}
		if made := len(knownSince); made != 3 {
			t.Errorf("%d keys were made, want 3", made)
		}
	})
}

// A node that was away while the key was made, took over and the old one went has
// the right keys as soon as it hears again, whichever way.
func TestNodeWasAway(t *testing.T) {
	for name, catchUp := range map[string]func(*testing.T, *Ring) error{
		"Reload":   func(t *testing.T, r *Ring) error { return r.Reload(t.Context()) },
		"Maintain": func(t *testing.T, r *Ring) error { return r.Maintain(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, policy, store := time.Now(), testPolicy(), openStorage(t, t.TempDir())
				stays, away := openRing(t, store, policy), openRing(t, store, policy)
				first := signsWith(t, away)
				forgotten := 0
				away.NotifyWithdrawn(func() { forgotten++ })
				for time.Since(start) < policy.RotateEvery+policy.MaxLifetime+2*clockSkew {
					time.Sleep(time.Minute)
					maintain(t, stays)
				}
				if ids := published(t, stays); len(ids) != 1 || ids[0] == first {
					t.Fatalf("the rotation is not over: %v", ids)
				}
				if err := catchUp(t, away); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(away.JWKS(), stays.JWKS()) || signsWith(t, away) != signsWith(t, stays) || forgotten != 1 {
					t.Errorf("it has %v, the others have %v; told %d times", published(t, away), published(t, stays), forgotten)
				}
				if len(storedRecords(t, store)) != 1 {
					t.Error("it has made a key of its own")
				}
			})
		})
	}
}
