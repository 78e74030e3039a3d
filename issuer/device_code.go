package issuer

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

const (
	// deviceLifetime is how long a person has to enter the code (RFC 8628 §3.2).
	deviceLifetime = 10 * time.Minute
	// deviceInterval is how long a device waits between two polls, and by how
	// much it has to slow down (§3.5).
	deviceInterval = 5 * time.Second

	// Bounds of what waits for a person: requests cost nothing to make, so they
	// are kept in memory, and only so many, of one address and in all.
	maxDevices           = 10_000
	maxDevicesPerAddress = 100
)

// deviceRequest is what a device asks for. It is not stored: sealed, it is the
// device code itself, so that whatever is lost with a restart comes back with
// the device's next poll.
type deviceRequest struct {
	ID        string      `json:"id"`
	ClientID  string      `json:"client_id"`
	UserCode  string      `json:"user_code"` // as people type it, without the dash
	Scope     oauth.Scope `json:"scope"`
	Audience  []string    `json:"audience"`
	Address   string      `json:"address"`
	Requested time.Time   `json:"requested"`
	Expiry    time.Time   `json:"expiry"`
}

// pendingDevices are the requests that wait for a person, by user code.
type pendingDevices struct {
	mu        sync.Mutex
	byCode    map[string]*pendingDevice
	byAddress map[string]int
}

// pendingDevice is one of them, with the pace of its polls.
type pendingDevice struct {
	deviceRequest
	interval time.Duration
	polled   time.Time
}

// errTooManyDevices: so many requests wait that no more are taken.
var errTooManyDevices = errors.New("too many device requests are waiting")

// add takes a request in. A user code that is in use is refused with false, and
// the caller makes another one.
func (p *pendingDevices) add(q deviceRequest) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byCode == nil {
		p.byCode, p.byAddress = make(map[string]*pendingDevice), make(map[string]int)
	}
	if _, taken := p.byCode[q.UserCode]; taken {
		return false, nil
	}
	by := limit.Source(q.Address)
	if len(p.byCode) >= maxDevices || p.byAddress[by] >= maxDevicesPerAddress {
		p.expire(time.Now())
		if len(p.byCode) >= maxDevices || p.byAddress[by] >= maxDevicesPerAddress {
			return false, errTooManyDevices
		}
	}
	p.byCode[q.UserCode] = &pendingDevice{deviceRequest: q, interval: deviceInterval}
	p.byAddress[by]++
	return true, nil
}

// find returns the request with that user code, while it waits.
func (p *pendingDevices) find(userCode string) (deviceRequest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.byCode[userCode]
	if !ok || !time.Now().Before(d.Expiry) {
		return deviceRequest{}, false
	}
	return d.deviceRequest, true
}

// poll notes a poll and tells whether it came too soon: then the device must wait
// longer from now on (RFC 8628 §3.5). A request that is not known, because the
// server was restarted, is taken in again.
func (p *pendingDevices) poll(q deviceRequest) (tooSoon bool) {
	p.mu.Lock()
	d := p.byCode[q.UserCode]
	p.mu.Unlock()
	if d == nil || d.ID != q.ID {
		// If it cannot be taken in, it is answered all the same.
		_, _ = p.add(q)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d = p.byCode[q.UserCode]; d == nil || d.ID != q.ID {
		return false
	}
	now := time.Now()
	tooSoon = !d.polled.IsZero() && now.Sub(d.polled) < d.interval
	d.polled = now
	if tooSoon {
		d.interval += deviceInterval
	}
	return tooSoon
}

// remove forgets a request that was decided and redeemed.
func (p *pendingDevices) remove(q deviceRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.byCode[q.UserCode]; d != nil && d.ID == q.ID {
		p.drop(d)
	}
}

func (p *pendingDevices) prune(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
}

// expire holds the lock.
func (p *pendingDevices) expire(now time.Time) {
	for _, d := range p.byCode {
		if !now.Before(d.Expiry) {
			p.drop(d)
		}
	}
}

// drop holds the lock.
func (p *pendingDevices) drop(d *pendingDevice) {
	delete(p.byCode, d.UserCode)
	by := limit.Source(d.Address)
	if p.byAddress[by]--; p.byAddress[by] <= 0 {
		delete(p.byAddress, by)
	}
}

// userCodeLetters are those of RFC 8628 §6.1: no vowels, so that no word comes
// out, and nothing that looks like something else.
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8 // 34 bits, with few guesses allowed
)

func newUserCode() string {
	var code strings.Builder
	for code.Len() < userCodeLength {
		var b [1]byte
		_, _ = rand.Read(b[:])
		// 240 is a multiple of 20: no letter is likelier than another.
		if b[0] < 240 {
			code.WriteByte(userCodeLetters[b[0]%20])
		}
	}
	return code.String()
}

// displayUserCode is the code as it is shown: WDJB-MJHT.
func displayUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}

// normalizeUserCode brings what a person typed into the form of the code: any
// case, with dashes or spaces or without. ok is false when it cannot be one.
func normalizeUserCode(typed string) (code string, ok bool) {
	if len(typed) > 32 {
		return "", false
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		switch {
		case r == '-' || r == ' ':
		case strings.ContainsRune(userCodeLetters, r):
			b.WriteRune(r)
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == userCodeLength
}
