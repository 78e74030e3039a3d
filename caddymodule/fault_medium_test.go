package caddymodule

import (
	"net/url"
	"testing"
	"time"
)

// backWithin is how long a server may refuse writes after its medium is whole.
const backWithin = 5 * time.Second

// known are tokens whose status at the gate no fault of the medium changes.
type known struct {
	site          *faultSite
	p             *process
	path          string
	good, revoked string
}

// startOnMedium runs a server whose storage is at path.
func startOnMedium(t *testing.T, path string) *known {
	t.Helper()
	site := newFaultSite(t, 1, "storage bolt {\n\t\t\tpath "+path+"\n\t\t}")
	k := &known{site: site, path: path, p: site.nodes[0].serve(site.text)}
	site.enter()
	k.good, k.revoked = site.accessToken(k.p.server), site.accessToken(k.p.server)
	k.p.send("POST", "/revoke", url.Values{"token": {k.revoked}}.Encode(), basic("web", appSecret), formType).want(t, 200)
	return k
}

// judged judges that the gate goes on with tokens it can judge without a write.
func (k *known) judged() {
	k.site.t.Helper()
	for token, want := range map[string]int{k.good: 200, k.revoked: 401, "garbage": 401} {
		if status := k.site.gate(k.p.server, token); status != want {
			k.site.t.Errorf("status %d at the gate, want %d", status, want)
		}
	}
}

// revokes revokes a new token and returns the answer's status. 200 is a promise,
// which is noted; anything but 200 and 503 is wrong.
func (k *known) revokes(promised *[]string) int {
	k.site.t.Helper()
	token := k.site.accessToken(k.p.server)
	a, err := k.site.post("/revoke", url.Values{"token": {token}})
	if err != nil {
		k.site.t.Fatal(err)
	}
	switch a.StatusCode {
	case 200:
		*promised = append(*promised, token)
	case 503:
		contains(k.site.t, a.body, `"temporarily_unavailable"`)
	default:
		k.site.t.Fatalf("a revocation: %d %s", a.StatusCode, a.body)
	}
	return a.StatusCode
}
