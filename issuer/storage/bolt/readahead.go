package bolt

import (
	"io"
	"sync"
	"sync/atomic"
)

// readAhead begins to read a file from end to end, so that the system has it in
// memory when its pages are asked for, which the trees scatter all over it: one
// after the other, a disk gives them several times as fast. stop ends it.
func readAhead(file io.ReaderAt, size int64) (stop func()) {
	var reading sync.WaitGroup
	var stopped atomic.Bool
	reading.Go(func() {
		buffer := make([]byte, 1<<20)
		for at := int64(0); at < size && !stopped.Load(); at += int64(len(buffer)) {
			if _, err := file.ReadAt(buffer, at); err != nil {
				return // who needs that page is told
			}
		}
	})
	return func() {
		stopped.Store(true)
		reading.Wait()
	}
}
