package caddymodule

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage/bolt"
)

// listensWithin is how long a server may take from its start until it serves, with
// 100,000 records in its storage.
const listensWithin = 2 * time.Second

// TestFaultKill: a server is killed with 64 requests on their way, again and again.
// Nothing that it gave an answer for is lost, and nothing is good twice, over both
// its lives.
func TestFaultKill(t *testing.T) {
	site := newFaultSite(t, 1, "")
	s := site.nodes[0]
	p := s.serve(site.text)
	site.enter()
	p.stop()
	records := fillStorage(t, filepath.Join(s.dir, "caddy", "oauth.db"), s.url, scaled(0, 50_000))
	p = s.serve(site.text)

	rounds := scaled(3, 200)
	var starts []time.Duration
	for range rounds {
		load := site.load(64, site.devices(4))
		until := site.acknowledged.Load() + 100 + rand.Int64N(int64(scaled(100, 400)))
		eventually(t, "acknowledgements", func() bool { return site.acknowledged.Load() >= until || t.Failed() })
		p.kill()
		load.end()
		site.client.CloseIdleConnections()
		begun := time.Now()
		p = s.serve(site.text)
		starts = append(starts, time.Since(begun))
		load.judgeAll()
		if t.Failed() {
			break
		}
	}
	s.adminCall("GET", "/oauth/storage/check", nil).want(t, 200)
	slices.Sort(starts)
	t.Logf("%d rounds on %d records: %d acknowledged, %d good twice, %d lost; started within %s, half of the times within %s",
		rounds, records, site.acknowledged.Load(), site.double.Load(), site.lost.Load(), starts[len(starts)-1], starts[len(starts)/2])
	// The slowest is that of a busy machine rather than of the server.
	if half := starts[len(starts)/2]; half > listensWithin {
		t.Errorf("half of the starts took more than %s, want %s", half, listensWithin)
	}
}

// fillStorage adds authorizations of other people, two records each, and returns
// how many records there are then.
func fillStorage(t testing.TB, path, issuer string, authorizations int) (records int) {
	t.Helper()
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	book, err := ledger.Open(t.Context(), store, issuer, func() time.Duration { return time.Hour })
	if err != nil {
		t.Fatal(err)
	}
	const batch = 5_000
	for done := 0; done < authorizations; done += batch {
		err := store.Update(t.Context(), func(tx storage.Tx) error {
			for n := range min(batch, authorizations-done) {
				now := record.Now()
				a := &ledger.Authorization{
					ID: record.NewHandle(), ClientID: "web", Subject: fmt.Sprintf("subject-%d", (done+n)%1000), Scope: oauth.Scope{"read"},
					Audience: []string{issuer + "/api"}, AuthTime: now, Offline: true, Created: now, Expiry: now.Add(24 * time.Hour),
				}
				if err := book.Put(tx, a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = store.Export(t.Context(), func(storage.Record) error { records++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return records
}
