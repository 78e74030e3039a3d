package users

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrTooBusy: too many passwords were being hashed already, and none of them was
// done in time. Nothing was tried; the caller answers 503.
var ErrTooBusy = errors.New("users: too many passwords are being hashed")

// argon2Parameters are those of RFC 9106 §3.1.
type argon2Parameters struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// current is what new hashes are made with, from the OWASP password storage
// cheat sheet: some 30 to 50 ms of one core. The 64 MiB of RFC 9106 §4 would let a
// handful of concurrent sign-ins take as much memory as the rest of a proxy.
var current = argon2Parameters{memory: 19 * 1024, passes: 2, threads: 1}

const (
	saltSize = 16 // RFC 9106 §3.1
	sumSize  = 32
)

// What a stored hash may ask for at most. A record is read before anyone has
// proven anything, so it must not decide how much memory we take.
const (
	maxHashText = 256
	maxMemory   = 128 * 1024 // KiB
	maxPasses   = 10
	maxThreads  = 8
)

// passwordHash is an argon2id hash.
type passwordHash struct {
	argon2Parameters
	salt, sum []byte
}

// phc is the alphabet of the PHC string format: no padding, no spare bits.
var phc = base64.RawStdEncoding.Strict()

// String writes the hash in the PHC string format.
func (h passwordHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, h.memory, h.passes, h.threads, phc.EncodeToString(h.salt), phc.EncodeToString(h.sum))
}

// parsePasswordHash reads what String writes, and nothing else. The error is
// storage.ErrDamaged and does not quote the text.
func parsePasswordHash(text string) (passwordHash, error) {
	var h passwordHash
	damaged := fmt.Errorf("%w: a password's hash", storage.ErrDamaged)
	if len(text) > maxHashText {
		return h, damaged
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return h, damaged
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return h, damaged
	}
	var errSalt, errSum error
	h.salt, errSalt = phc.DecodeString(parts[4])
	h.sum, errSum = phc.DecodeString(parts[5])
	// To write it again and compare refuses all that Sscanf is lenient about,
	// and another algorithm or version with it.
	if errSalt != nil || errSum != nil || !h.withinBounds() || h.String() != text {
		return passwordHash{}, damaged
	}
	return h, nil
}

// withinBounds holds the parameters against RFC 9106 §3.1 from below, and
// against what this process is ready to spend from above.
func (h passwordHash) withinBounds() bool {
	return h.threads >= 1 && h.threads <= maxThreads &&
		h.passes >= 1 && h.passes <= maxPasses &&
		h.memory >= 8*uint32(h.threads) && h.memory <= maxMemory &&
		len(h.salt) >= 8 && len(h.salt) <= 64 &&
		len(h.sum) >= 16 && len(h.sum) <= 64
}

// hasher computes hashes, as many at once as there are processors: more would
// only be slower, and each takes its memory. What it is given has been through
// normalize.
type hasher struct {
	parameters argon2Parameters // of new hashes
	slots      chan struct{}
	count      atomic.Uint64 // hashes computed
	decoy      string        // see decoyHash
}

// maxHashWait is how long a password waits for its turn. Whoever waits longer
// has given up, or is one of too many.
const maxHashWait = 2 * time.Second

func newHasher(parameters argon2Parameters) *hasher {
	return &hasher{parameters: parameters, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), decoy: decoyHash(parameters)}
}

// acquire waits for a slot. The error is ErrTooBusy, or that of ctx.
func (h *hasher) acquire(ctx context.Context) error {
	timer := time.NewTimer(maxHashWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ErrTooBusy
	}
}

func (h *hasher) release() { <-h.slots }

// sum is called with a slot.
func (h *hasher) sum(password string, salt []byte, p argon2Parameters, size int) []byte {
	h.count.Add(1)
	return argon2.IDKey([]byte(password), salt, p.passes, p.memory, p.threads, uint32(size))
}

// hash makes the hash of a new password. The error is that of acquire.
func (h *hasher) hash(ctx context.Context, password string) (passwordHash, error) {
	if err := h.acquire(ctx); err != nil {
		return passwordHash{}, err
	}
	defer h.release()
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	return passwordHash{h.parameters, salt, h.sum(password, salt, h.parameters, sumSize)}, nil
}

// outdated tells whether a hash made today would be made differently.
func (h *hasher) outdated(hash passwordHash) bool {
	return hash.argon2Parameters != h.parameters || len(hash.salt) != saltSize || len(hash.sum) != sumSize
}

// matches tells whether the password has that hash. The error is that of
// acquire.
func (h *hasher) matches(ctx context.Context, password string, with passwordHash) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	sum := h.sum(password, with.salt, with.argon2Parameters, len(with.sum))
	return subtle.ConstantTimeCompare(sum, with.sum) == 1, nil
}
