package caddymodule

import (
	"fmt"
	"io"
	"time"
)

// progressEvery is how long a command may go on without a word.
const progressEvery = 2 * time.Second

// progress writes a line every two seconds until stop is called. say is called by
// another goroutine than the caller's.
func progress(to io.Writer, say func() string) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-tick.C:
				_, _ = fmt.Fprintf(to, "%s (%.0f s)\n", say(), time.Since(began).Seconds())
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}
