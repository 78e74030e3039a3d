package introspect

import (
	"errors"
	"sync"
	"time"
)

// Health is how an issuer elsewhere has answered so far.
type Health struct {
	// LastSuccess is when it last gave a good answer; zero if it never did.
	LastSuccess time.Time

	// Failures counts the exchanges with it that brought none.
	Failures uint64
}

// health keeps a Health.
type health struct {
	mu  sync.Mutex
	now Health
}

// note counts an exchange. An issuer that calls a token inactive has answered.
func (h *health) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || errors.Is(err, ErrInactive) {
		h.now.LastSuccess = time.Now()
	} else {
		h.now.Failures++
	}
}

// Health returns how the issuer has answered so far, to fetches or to questions.
func (h *health) Health() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}
