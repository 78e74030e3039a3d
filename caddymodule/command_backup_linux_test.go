package caddymodule

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestBackupTerminal: signing keys are not for a screen, and the server is not
// even asked for them.
func TestBackupTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	b := &backup{progress: io.Discard, open: func() (io.ReadCloser, error) {
		t.Error("the server was asked")
		return nil, io.EOF
	}}
	if err := b.pipe(terminal); err == nil || !strings.Contains(err.Error(), "not for a terminal") {
		t.Errorf("pipe = %v", err)
	}
}
