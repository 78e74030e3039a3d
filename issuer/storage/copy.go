package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Exporter is a [Storage] that can show all it has. [Copy] needs it.
type Exporter interface {
	Storage

	// Export calls fn for each unexpired record of one consistent snapshot, in
	// byte order of kind and key, until fn returns an error, which Export
	// returns as it is. fn may use other storages, but not this one. A damaged
	// record ends the export with ErrDamaged.
	Export(ctx context.Context, fn func(Record) error) error
}

// Record is a record as [Exporter] shows it.
type Record struct {
	Kind, Key string
	Value     []byte    // a copy
	Expiry    time.Time // zero: for ever
}

// Errors of [Copy].
var (
	// ErrNotEmpty: the target of a copy has records. Nothing was written.
	ErrNotEmpty = errors.New("storage: the target of the copy is not empty")

	// ErrNoExport: one of the two is not an [Exporter]. Nothing was written.
	ErrNoExport = errors.New("storage: not a storage that can be copied from or to")
)

// A copy is written in transactions of some records each, so that neither side
// has to hold all of it in memory.
const (
	copyRecords = 500
	copyBytes   = 1 << 20
)

// A target that was not filled to the end lacks, say, revocations. It carries
// this record until the last transaction.
const (
	copyKind = "copy"
	copyKey  = "unfinished"
)

// Copy copies every unexpired record of from, as of one moment, with its
// expiry. What is written to from meanwhile is not copied, and nobody else may
// use the target: no server should run on either. progress, unless it is nil,
// is told now and then how many records are safely in the target.
//
// The target must be empty, or Copy fails with [ErrNotEmpty]. When it fails
// later, or the process dies, the target stays behind unfinished: its
// implementation refuses to open it (see [Finished]), Copy refuses to go on
// with it, and it has to be removed. Other errors are those of the storages and
// ctx.Err().
func Copy(ctx context.Context, from, to Storage, progress func(records int)) error {
	source, ok := from.(Exporter)
	target, ok2 := to.(Exporter)
	if !ok || !ok2 {
		return ErrNoExport
	}
	if err := checkEmpty(ctx, target); err != nil {
		return err
	}
	mark := func(tx Tx) error { return tx.Put(copyKind, copyKey, nil, time.Time{}) }
	if err := target.Update(ctx, mark); err != nil {
		return err
	}
	c := copying{ctx: ctx, to: target, progress: progress}
	if err := source.Export(ctx, c.add); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	return target.Update(ctx, func(tx Tx) error { return tx.Delete(copyKind, copyKey) })
}

func checkEmpty(ctx context.Context, target Exporter) error {
	if err := Finished(ctx, target); err != nil {
		return err
	}
	return target.Export(ctx, func(Record) error { return ErrNotEmpty })
}

// Finished returns nil unless the storage is the target of a [Copy] that was
// not finished; then the error wraps [ErrDamaged]. Implementations of
// [Exporter] ask when they open what was there already.
func Finished(ctx context.Context, s Storage) error {
	return s.View(ctx, func(tx Tx) error {
		switch _, err := tx.Get(copyKind, copyKey); {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%w: it is the target of a copy that was not finished: remove it and copy again", ErrDamaged)
	})
}

// copying gathers records and writes them.
type copying struct {
	ctx      context.Context
	to       Storage
	progress func(int)

	batch []Record
	bytes int
	done  int
}

func (c *copying) add(r Record) error {
	c.batch = append(c.batch, r)
	c.bytes += len(r.Value)
	if len(c.batch) < copyRecords && c.bytes < copyBytes {
		return nil
	}
	return c.flush()
}

func (c *copying) flush() error {
	err := c.to.Update(c.ctx, func(tx Tx) error {
		for _, r := range c.batch {
			if err := tx.Put(r.Kind, r.Key, r.Value, r.Expiry); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.done += len(c.batch)
	c.batch, c.bytes = c.batch[:0], 0
	if c.progress != nil {
		c.progress(c.done)
	}
	return nil
}
