//go:build !unix

package caddymodule

import "io/fs"

// belongsToCaller has nothing to tell where files have no owner in this sense.
func belongsToCaller(string, fs.FileInfo) error { return nil }

// openToOthers: who may open a file is not in its mode there.
func openToOthers(fs.FileInfo) bool { return false }
