package bolt

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"runtime"
	"time"
)

// meta is what the valid meta page with the highest transaction id says. bbolt
// keeps two, in the first two pages, and writes them in turn.
type meta struct {
	pageSize int64
	pages    int64 // the pages in use are the ones below this number
	root     uint64
	freelist uint64
	txid     uint64
}

// The layout of a meta page, in the byte order of the machine: a page header of
// 16 bytes, then magic u32, version u32, page size u32, flags u32, root u64 u64,
// free list u64, high-water mark u64, transaction id u64, FNV-64a of all that.
const (
	metaOffset   = 16
	metaLength   = 64
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	noFreelist   = ^uint64(0)
	minPageSize  = 1 << 10
	maxPageSize  = 1 << 24
	minFileSize  = 4 * minPageSize // two metas, a free list and a leaf
	checksumFrom = metaLength - 8
)

var (
	errForeign  = errors.New("is not a database")
	errBadMetas = errors.New("has no sound meta page")
)

// readMeta finds the newest sound meta page without a bbolt handle. Another
// process may be writing to the file meanwhile: one of the two is always sound.
func readMeta(f io.ReaderAt) (meta, error) {
	best, found, magic := meta{}, false, false
	consider := func(offset int64) {
		var page [metaOffset + metaLength]byte
		if _, err := f.ReadAt(page[:], offset); err != nil {
			return
		}
		m, isMeta, sound := parseMeta(page[metaOffset:])
		magic = magic || isMeta
		if sound && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	consider(0)
	for size := int64(minPageSize); size <= maxPageSize; size *= 2 {
		if !found || size == best.pageSize {
			consider(size)
		}
	}
	switch {
	case found:
		return best, nil
	case magic:
		return meta{}, errBadMetas
	default:
		return meta{}, errForeign
	}
}

func parseMeta(b []byte) (m meta, isMeta, sound bool) {
	order := binary.NativeEndian
	if order.Uint32(b) != boltMagic {
		return meta{}, false, false
	}
	sum := fnv.New64a()
	sum.Write(b[:checksumFrom])
	m = meta{
		pageSize: int64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		pages:    int64(order.Uint64(b[40:])),
		txid:     order.Uint64(b[48:]),
	}
	sound = order.Uint32(b[4:]) == boltVersion &&
		order.Uint64(b[checksumFrom:]) == sum.Sum64() &&
		m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pages > 0
	return m, true, sound
}

// superseded tells whether the other meta page is newer than m, and would be sound
// if one bit of it were another. bbolt would go by m, and take back the last commit.
// A page that is damaged otherwise may be one whose writing was interrupted: nobody
// was told of that commit.
func (m meta) superseded(f io.ReaderAt) bool {
	for _, offset := range []int64{0, m.pageSize} {
		var other [metaLength]byte
		if _, err := f.ReadAt(other[:], offset+metaOffset); err != nil {
			return false // the file is cut off
		}
		if _, _, sound := parseMeta(other[:]); sound {
			continue
		}
		for bit := range metaLength * 8 {
			other[bit/8] ^= 1 << (bit % 8)
			if mended, _, sound := parseMeta(other[:]); sound && mended.txid > m.txid {
				return true
			}
			other[bit/8] ^= 1 << (bit % 8)
		}
	}
	return false
}

// usedSize is how long the file has to be at least.
func usedSize(f io.ReaderAt) (int64, error) {
	m, err := readMeta(f)
	return m.pages * m.pageSize, err
}

// examine refuses a file on which bbolt would panic, or which it would take for
// a fresh one, and does so without a lock and without a write.
func examine(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return unavailable(path, "cannot be opened", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return unavailable(path, "is not a regular file: name a file", nil)
	case info.Size() == 0:
		return damaged(path, "is empty (0 bytes): restore a backup, or remove it to begin with a new storage")
	}
	f, err := os.Open(path)
	if err != nil {
		return unavailable(path, "cannot be opened", err)
	}
	defer f.Close()
	switch m, err := readMeta(f); {
	case errors.Is(err, errForeign):
		return damaged(path, "is not a database: it belongs to something else; name another file")
	case err != nil || info.Size() < minFileSize || m.superseded(f):
		return damaged(path, "has a damaged head: restore a backup")
	case info.Size() < m.pages*m.pageSize:
		return damaged(path, "is cut off: restore a backup")
	case m.freelist == noFreelist:
		return damaged(path, "is a database of another program: name another file")
	}
	return nil
}

// openExisting examines, locks and opens the file, and looks whether it is ours.
func openExisting(path string, timeout time.Duration) (*database, error) {
	if err := examine(path); err != nil {
		return nil, err
	}
	db, err := openBolt(path, timeout)
	if err != nil {
		return nil, err
	}
	if err := acceptable(db); err != nil {
		_ = db.close()
		return nil, err
	}
	return db, nil
}

func acceptable(db *database) error {
	open, err := db.file.Stat()
	if err != nil {
		return unavailable(db.path, "cannot be opened", err)
	}
	// While this process waited for the lock, its holder may have put a
	// compacted file in the place of the one that it had locked.
	if named, err := os.Stat(db.path); err != nil || !os.SameFile(open, named) {
		return unavailable(db.path, "was replaced while it was being opened: try again", nil)
	}
	if err := checkSchema(db); err != nil {
		return err
	}
	if runtime.GOOS != "windows" && open.Mode().Perm()&0o077 != 0 {
		if err := db.file.Chmod(0o600); err != nil {
			return unavailable(db.path, "can be read by other users, and its mode cannot be changed to 0600", err)
		}
	}
	return nil
}
