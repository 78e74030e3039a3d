package caddymodule

import (
	"errors"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

const (
	storageWait  = 30 * time.Second       // for a storage that starts beside this process
	storageRetry = 500 * time.Millisecond // between two attempts to open it
)

// awaitStorage opens something on a storage that may be starting: machines and
// containers start everything at once, and who gives up at once is given up on by
// the service manager. What does not pass by waiting is returned at once, and when
// the process is told to end so is the rest.
func awaitStorage(logger *slog.Logger, open func() error) error {
	begun, told := time.Now(), false
	for {
		err := open()
		if err == nil && told {
			logger.Info("the OAuth storage has come", "after", time.Since(begun).String())
		}
		if !errors.Is(err, storage.ErrStarting) || time.Since(begun) >= storageWait || caddy.Exiting() {
			return err
		}
		if !told {
			told = true
			logger.Warn("waiting for the OAuth storage, which may be starting", "at_most", storageWait.String(), "error", err)
		}
		time.Sleep(storageRetry)
	}
}
