package storagetest

import (
	"errors"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Keys carry an ordered part (an hour, a number) that lists rely on; a collation
// of the medium ("B" after "a") would break it.
func listInByteOrder(t *testing.T, s storage.Storage) {
	for _, key := range []string{"b", "a", "B", "é", "aa", "a\x00", "\xff", "_", "10", "9", "a b", "a-b"} {
		put(t, s, "code", key, "", forever)
	}
	view(t, s, func(tx storage.Tx) error {
		wantList(t, tx, "code", "", "10= 9= B= _= a= a\x00= a b= a-b= aa= b= é= \xff=")
		return nil
	})
}

// "All tokens of one authorization" is a prefix: a neighbour that gets in is
// revoked by mistake, one that stays out outlives its revocation.
func listByPrefix(t *testing.T, s storage.Storage) {
	for _, key := range []string{"a", "ab", "ab\xff", "ab\xff\xff", "ac", "\xff", "\xff\xff", "\xff\xffa", "%", "_b"} {
		put(t, s, "code", key, "", forever)
	}
	view(t, s, func(tx storage.Tx) error {
		wantList(t, tx, "code", "a", "a= ab= ab\xff= ab\xff\xff= ac=")
		wantList(t, tx, "code", "ab", "ab= ab\xff= ab\xff\xff=")
		wantList(t, tx, "code", "ab\xff", "ab\xff= ab\xff\xff=")
		wantList(t, tx, "code", "\xff", "\xff= \xff\xff= \xff\xffa=")
		wantList(t, tx, "code", "\xff\xff", "\xff\xff= \xff\xffa=")
		wantList(t, tx, "code", "%", "%=")
		wantList(t, tx, "code", "_b", "_b=")
		wantList(t, tx, "code", "b", "")
		wantList(t, tx, "code", "abc", "")
		wantList(t, tx, "none", "", "")
		return nil
	})
}

// A list read in parts goes on behind the last key of the part before, whether or
// not that one is still there: none twice, none left out.
func listAfterKey(t *testing.T, s storage.Storage) {
	for _, key := range []string{"a", "ab", "ab\x00", "ab\xff", "abc", "ac", "b"} {
		put(t, s, "code", key, "", forever)
	}
	view(t, s, func(tx storage.Tx) error {
		for _, c := range []struct{ prefix, after, list string }{
			{"a", "", "a= ab= ab\x00= abc= ab\xff= ac="},
			{"a", "a", "ab= ab\x00= abc= ab\xff= ac="},
			{"a", "ab", "ab\x00= abc= ab\xff= ac="},
			{"a", "ab\xff", "ac="},
			{"a", "ac", ""},
			{"a", "b", ""}, // behind the prefix
			{"b", "a", "b="},
			{"ab", "abb", "abc= ab\xff="}, // no such key
			{"", "abc", "ab\xff= ac= b="},
		} {
			wantListAfter(t, tx, "code", c.prefix, c.after, c.list)
		}
		return nil
	})
	update(t, s, func(tx storage.Tx) error {
		err := errors.Join(tx.Delete("code", "abc"), tx.Put("code", "abd", []byte("new"), forever), tx.Put("code", "aa", []byte("new"), forever))
		wantListAfter(t, tx, "code", "a", "ab", "ab\x00= abd=new ab\xff= ac=")
		wantListAfter(t, tx, "code", "a", "abd", "ab\xff= ac=")
		return err
	})
}

// Revocation lists what the same transaction has just written or deleted.
func listMergesPendingWrites(t *testing.T, s storage.Storage) {
	for _, key := range []string{"b", "d", "f", "h"} {
		put(t, s, "code", key, "stored", forever)
	}
	update(t, s, func(tx storage.Tx) error {
		err := errors.Join(
			tx.Put("code", "a", []byte("new"), forever),
			tx.Put("code", "d", []byte("replaced"), forever),
			tx.Put("code", "e", []byte("new"), forever),
			tx.Put("code", "i", []byte("new"), forever),
			tx.Delete("code", "b"),
			tx.Delete("code", "h"),
			tx.Delete("code", "none"),
			tx.Put("other", "g", []byte("no"), forever))
		wantList(t, tx, "code", "", "a=new d=replaced e=new f=stored i=new")
		wantList(t, tx, "code", "d", "d=replaced")
		wantList(t, tx, "code", "h", "")
		wantList(t, tx, "other", "", "g=no")
		return err
	})
	view(t, s, func(tx storage.Tx) error {
		wantList(t, tx, "code", "", "a=new d=replaced e=new f=stored i=new")
		return nil
	})
}

// The function's error ends the list at once (a page is full) and comes back
// as it is.
func listEndsWithError(t *testing.T, s storage.Storage) {
	enough := errors.New("enough")
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, "code", key, "", forever)
	}
	list := func(tx storage.Tx) error {
		seen := 0
		err := tx.List("code", "", func(string, []byte) error {
			if seen++; seen == 2 {
				return enough
			}
			return nil
		})
		if err != enough || seen != 2 {
			t.Errorf("List = %v after %d records, want the function's error after 2", err, seen)
		}
		return nil
	}
	view(t, s, list)
	update(t, s, func(tx storage.Tx) error {
		return errors.Join(tx.Put("code", "b", []byte("pending"), forever), list(tx))
	})
}
