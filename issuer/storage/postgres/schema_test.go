package postgres

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Nodes of a cluster start at once, the first time too.
func TestConcurrentFirstStart(t *testing.T) {
	for range 3 {
		config := newConfig()
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				s, err := Open(t.Context(), config)
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if err := errors.Join(put(t.Context(), s, "code", "a", "1"), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// What this program would misread, or would ruin, it leaves alone.
func TestRefusedSchemas(t *testing.T) {
	for name, c := range map[string]struct{ change, says string }{
		"newer version":             {`UPDATE @.storage SET schema = 2`, "version 2"},
		"version below the first":   {`UPDATE @.storage SET schema = 0`, "damaged"},
		"no version":                {`DELETE FROM @.storage`, "head is damaged"},
		"other magic":               {`UPDATE @.storage SET magic = 'x'`, "another program"},
		"other table of that name":  {`ALTER TABLE @.storage DROP COLUMN magic`, "another program"},
		"tables of another program": {`DROP TABLE @.storage`, "another program"},
	} {
		config := newConfig()
		s := opened(t, config)
		admin := beside(t, server.URL())
		execute(t, admin, s, c.change)
		_, err := Open(t.Context(), config)
		if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Open = %v, want ErrDamaged that says %q", name, err, c.says)
		}
	}
}

// A migration happens once, also where several nodes begin it, and what was
// there stays.
func TestMigration(t *testing.T) {
	config := newConfig()
	nodes := []*Storage{opened(t, config), opened(t, config), opened(t, config)}
	if err := put(t.Context(), nodes[0], "code", "a", "1"); err != nil {
		t.Fatal(err)
	}
	steps := append(slices.Clone(migrations), `CREATE TABLE @.second ()`, `CREATE TABLE @.third ()`)
	var wg sync.WaitGroup
	for _, s := range nodes {
		wg.Go(func() {
			if err := s.migrate(t.Context(), steps); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	if value, err := get(t.Context(), nodes[0], "code", "a"); value != "1" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
	if _, err := Open(t.Context(), config); !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("Open by the older program = %v, want ErrDamaged that names version 3", err)
	}
	// A step that fails leaves the schema as it was.
	err := nodes[0].migrate(t.Context(), append(steps, `CREATE TABLE @.fourth (); SELECT 1/0`))
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("migrate = %v, want ErrUnavailable", err)
	}
	if err := nodes[0].migrate(t.Context(), append(steps, `CREATE TABLE @.fourth ()`)); err != nil {
		t.Errorf("migrate again: %v", err)
	}
}

// An operator who does not grant CREATE on the database makes the schema.
func TestPreparedSchema(t *testing.T) {
	config := newConfig()
	admin := beside(t, server.URL())
	s := &Storage{config: config}
	execute(t, admin, s, `CREATE SCHEMA @`)
	if err := put(t.Context(), opened(t, config), "code", "a", "1"); err != nil {
		t.Error(err)
	}
}
