package users

import "time"

// maxEntries bounds each table of a throttle: some 20 MB when all are full.
const maxEntries = 100_000

// evictionSample is among how many entries the one to go is chosen.
const evictionSample = 16

// entry is what a table holds: something that stops to matter at a time.
type entry interface {
	// weight says how much would be lost with the entry; zero means nothing, and
	// that it may go at any time.
	weight(now time.Time) int
}

// table is a bounded map. When it is full, a new entry takes the place of the
// lightest of a random few: whoever floods it with single failures pushes out
// single failures, and the accounts under attack stay throttled.
type table[K comparable, E entry] struct {
	entries map[K]E
	limit   int
}

func newTable[K comparable, E entry]() table[K, E] {
	return table[K, E]{entries: make(map[K]E), limit: maxEntries}
}

// get returns the entry of a key, and whether there is one.
func (t *table[K, E]) get(key K) (E, bool) {
	e, ok := t.entries[key]
	return e, ok
}

// put adds or replaces the entry of a key.
func (t *table[K, E]) put(key K, e E, now time.Time) {
	if _, ok := t.entries[key]; !ok && len(t.entries) >= t.limit {
		t.evict(now)
	}
	t.entries[key] = e
}

func (t *table[K, E]) delete(key K) { delete(t.entries, key) }

// evict removes those of a few entries that have no weight, or else the
// lightest. A range over a map starts at a random place.
func (t *table[K, E]) evict(now time.Time) {
	var lightest K
	least, seen, gone := 0, 0, false
	for key, e := range t.entries {
		w := e.weight(now)
		if w == 0 {
			delete(t.entries, key)
			gone = true
		} else if least == 0 || w < least {
			lightest, least = key, w
		}
		if seen++; seen >= evictionSample {
			break
		}
	}
	if !gone {
		delete(t.entries, lightest)
	}
}
