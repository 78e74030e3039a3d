package caddymodule

import (
	"context"
	"errors"
	"strconv"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// listedFaults bounds the faults that an answer lists; all are counted.
const listedFaults = 1000

// storageFaults is what a check of a storage has found.
type storageFaults struct {
	Count  int            `json:"faults"`
	Listed []storageFault `json:"damaged"` // the first of them
}

// storageFault is a record that is not what was written. Kind and key are empty
// where the fault belongs to none.
type storageFault struct {
	Kind  string `json:"kind,omitempty"`
	Key   string `json:"key,omitempty"` // as in a string literal of Go, without the quotes
	Fault string `json:"fault"`
}

func (f *storageFaults) add(kind, key string, err error) {
	if f.Count++; f.Count > listedFaults {
		return
	}
	quoted := strconv.Quote(key)
	f.Listed = append(f.Listed, storageFault{Kind: kind, Key: quoted[1 : len(quoted)-1], Fault: err.Error()})
}

// checkedStorage answers with the faults of the storage in use:
//
//	GET /oauth/storage/check
func checkedStorage(r *adminRequest) (any, error) {
	store, err := r.storage()
	if err != nil {
		return nil, err
	}
	return checkStorage(r.Context(), store)
}

// checkStorage reads everything in a storage. Damage is no error but its result.
func checkStorage(ctx context.Context, store storage.Storage) (*storageFaults, error) {
	found := &storageFaults{Listed: []storageFault{}}
	var err error
	switch s := store.(type) {
	case interface {
		Check(context.Context, func(kind, key string, err error)) error
	}:
		err = s.Check(ctx, found.add)
	case storage.Exporter:
		err = s.Export(ctx, func(storage.Record) error { return nil })
	default:
		return nil, errors.New("this storage cannot be checked")
	}
	if errors.Is(err, storage.ErrDamaged) && found.Count == 0 {
		found.add("", "", err)
	}
	if err != nil && !errors.Is(err, storage.ErrDamaged) {
		return nil, err
	}
	return found, nil
}
