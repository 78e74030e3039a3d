package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestAdminDocument runs the examples of docs/admin-api.md, in their order, and
// each operation is among them.
func TestAdminDocument(t *testing.T) {
	b := startBackend(t)
	text := strings.NewReplacer("api:read", "orders:read", "client app {", "client shop {").Replace(contractCaddyfile)
	c := &contract{server: start(t, text, b.address), openAPI: readOpenAPI(t), seen: make(map[string]map[int]bool), args: map[string]string{}}
	c.scope = "orders:read"
	c.person()
	environment := append(environment(),
		"TOKEN="+c.granted(), "AUTHORIZATION="+c.listed("listAuthorizations", "authorizations", "authorization_id"),
		"REFERENCE="+c.apply("One"), "OTHER_REFERENCE="+c.apply("Another"), "KID="+c.keys()[0].KID)

	var mu sync.Mutex
	asked := make(map[string]bool) // operations that succeeded
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: c.admin}) // and the Host that the admin endpoint accepts
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		for _, operation := range adminOperations {
			path := strings.TrimPrefix(r.Request.URL.EscapedPath(), adminBase)
			if _, ok := matchPattern(operation.pattern, path); ok && operation.method == r.Request.Method && r.StatusCode == http.StatusOK {
				asked[operation.method+" "+operation.pattern] = true
			}
		}
		return nil
	}
	front := httptest.NewServer(proxy)
	defer front.Close()

	script := strings.Join(blocks(ofCheckout(t, "docs/admin-api.md"), "sh"), "\necho\n")
	script = strings.NewReplacer("http://localhost:2019", front.URL, "https://api.example.com/orders", c.url+"/api/x").Replace(script)
	sh := exec.Command("sh", "-eu", "-c", script)
	sh.Dir, sh.Env = t.TempDir(), environment
	ran := runCommand(t, sh)
	if ran.status != 0 {
		t.Fatalf("exit status %d: %s%s", ran.status, ran.stdout, ran.stderr)
	}
	for _, operation := range adminOperations {
		if name := operation.method + " " + operation.pattern; !asked[name] {
			t.Errorf("no example shows %s", name)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(ran.stdout), "\n") {
		if line != "" && !json.Valid([]byte(line)) {
			t.Errorf("an answer that is no JSON: %.200s", line)
		}
	}
}
