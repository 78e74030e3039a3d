//go:build unix

package caddymodule

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// belongsToCaller returns an error if a file belongs to another user than the one
// that runs this process.
func belongsToCaller(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := "the user with the id " + strconv.Itoa(int(stat.Uid))
	if known, err := user.LookupId(strconv.Itoa(int(stat.Uid))); err == nil {
		owner = "the user " + known.Username
	}
	return fmt.Errorf("%s belongs to %s: run this as that user, so that the server can use its files afterwards", path, owner)
}

// openToOthers tells whether the mode of a file lets other users open it.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
