package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
)

// create puts a new, empty database at path. It is made under another name,
// synced, and then linked to its own, so that the path names a complete file or
// none at whatever instant the process dies. The marker comes after it: a
// database without marker is a sound one, a marker without database a lost one.
func create(path string, timeout time.Duration) error {
	if _, err := os.Lstat(markerPath(path)); err == nil {
		return damaged(path, "is missing, although it was once in use here: restore a backup, or remove "+markerPath(path)+" to begin with a new storage")
	}
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return unavailable(path, "cannot be created", err)
	}
	temporary, err := createTemporary(path)
	if err != nil {
		return unavailable(path, "cannot be created", err)
	}
	defer os.Remove(temporary)
	if err := initialise(temporary, timeout); err != nil {
		return unavailable(path, "cannot be created", err)
	}
	if err := publish(temporary, path); err != nil {
		return unavailable(path, "cannot be created", err)
	}
	if err := writeMarker(path); err != nil {
		return unavailable(path, "cannot be marked as in use", err)
	}
	removeLeftovers(path)
	return nil
}

// temporaryPattern matches the files of unfinished work beside a database.
func temporaryPattern(path string) string { return path + ".unfinished-*" }

func createTemporary(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(temporaryPattern(path))) // mode 0600
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// removeLeftovers removes what earlier attempts left that were cut short. An
// attempt of another process that runs right now fails by it, as it must.
func removeLeftovers(path string) {
	leftovers, _ := filepath.Glob(temporaryPattern(path))
	for _, name := range leftovers {
		_ = os.Remove(name)
	}
}

// initialise makes an empty file a database of this program, synced.
func initialise(path string, timeout time.Duration) error {
	db, err := openBolt(path, timeout)
	if err != nil {
		return err
	}
	err = db.bolt.Update(func(b *bbolt.Tx) error { return writeSchema(b) })
	return errors.Join(err, db.file.Sync(), db.close())
}

// publish gives a finished file its name. A link, other than a rename, never
// replaces the file of a process that was faster; some file systems have none.
func publish(temporary, path string) error {
	err := os.Link(temporary, path)
	if errors.Is(err, os.ErrExist) {
		return nil // theirs is as good as ours; opening it tells who holds it
	}
	if err != nil {
		err = os.Rename(temporary, path)
	}
	return errors.Join(err, syncDirectory(filepath.Dir(path)))
}

func markerPath(path string) string { return path + ".initialised" }

// writeMarker writes the marker unless it is there.
func writeMarker(path string) error {
	if _, err := os.Lstat(markerPath(path)); err == nil {
		return nil
	}
	temporary, err := createTemporary(path)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	f, err := os.OpenFile(temporary, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s was initialised. While this file stands, an empty or missing database is refused\n"+
		"instead of being created anew. Remove it only to begin with a new, empty storage.\n", filepath.Base(path))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, markerPath(path)); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes the names in a directory durable. Windows does so itself,
// and cannot be asked to.
func syncDirectory(directory string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
