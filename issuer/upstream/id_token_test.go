package upstream

import (
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Core §3.1.3.7 item 2 knows no exception. The library makes one for Google, and
// it is not ours.
func TestIssuerHasNoException(t *testing.T) {
	p := &Provider{config: Config{Issuer: "https://accounts.google.com"}}
	for issuer, want := range map[string]error{"https://accounts.google.com": nil, "accounts.google.com": ErrRefused} {
		err := p.checkIssued(&oidc.IDToken{Issuer: issuer, IssuedAt: time.Now()})
		if want == nil && err != nil {
			t.Error(err)
		}
		if want != nil {
			checkOneKind(t, err, want)
		}
	}
}
