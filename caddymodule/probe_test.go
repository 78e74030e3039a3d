package caddymodule

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule/probe"
)

// probed is what "caddy oauth probe --json" found.
type probed struct {
	probe.Report
	stderr string
}

// runProbe runs the command in this process, against the running server.
func (s *server) runProbe(url string, arguments ...string) (*probed, error) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := (&command{address: s.admin, json: true}).probe()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{url, "--token-from", "app"}, arguments...))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := cmd.Execute()
	found := &probed{stderr: stderr.String()}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &found.Report); err != nil {
			s.t.Fatalf("%v: %s", err, stdout.String())
		}
	}
	return found, err
}

// list returns the checks that had an outcome, as "class: check", and what was
// found in each.
func (p *probed) list(outcome string) (checks, details []string) {
	for _, f := range p.Checks {
		if f.Outcome == outcome {
			checks = append(checks, f.Class+": "+f.Check)
			details = append(details, f.Class+": "+f.Check+": "+f.Detail)
		}
	}
	return checks, details
}

// hold fails the test if a check has failed.
func (p *probed) hold(t *testing.T, err error) {
	t.Helper()
	_, failed := p.list(probe.Failed)
	if err != nil || len(failed) > 0 {
		t.Fatal(err, strings.Join(failed, "\n"))
	}
}

// TestProbeHolds: the gate passes every check, and with a backend none stays
// unseen. Its tokens can be told from others in the log.
func TestProbeHolds(t *testing.T) {
	backend := freeAddress(t)
	s := start(t, usualCaddyfile, backend)
	found, err := s.runProbe(s.url+"/api/orders/7?x=1", "--backend", backend)
	found.hold(t, err)
	if _, unseen := found.list(probe.NotSeen); len(unseen) > 0 || found.Passed != len(found.Checks) || found.Passed < 80 {
		t.Errorf("%d of %d passed, not seen: %s", found.Passed, len(found.Checks), strings.Join(unseen, "\n"))
	}
	if found.Resource != s.url+"/api" || found.NeededScope != "api:read" || found.ClientID != "app" {
		t.Errorf("report: %+v", found.Report)
	}
	contains(t, s.log(), `"path":"/oauth/probe-tokens"`, `"token_id":"probe-`)
}

// TestProbeHoldsBeforeTheAPI: without a backend nothing fails, what cannot be
// told is not said to have passed, and the API gets nothing that could change it.
func TestProbeHoldsBeforeTheAPI(t *testing.T) {
	b := startBackend(t)
	s := start(t, usualCaddyfile, b.address)
	found, err := s.runProbe(s.url + "/api/orders/7")
	found.hold(t, err)
	unseen, _ := found.list(probe.NotSeen)
	contains(t, strings.Join(unseen, "\n"), "identity: said as X_Auth_Subject", "identity: the token stays at the gate", "method: others without a token")
	for _, request := range b.take() {
		if method, _, _ := strings.Cut(request, " "); method != "GET" {
			t.Errorf("the API got %s", method)
		}
	}
}

// TestProbeIdentityHeaders: headers with other names are guarded as the usual
// ones; a gate without scopes has nothing to show about them.
func TestProbeIdentityHeaders(t *testing.T) {
	backend := freeAddress(t)
	s := start(t, strings.NewReplacer(
		"scope GET,HEAD api:read", "identity_header Who-Calls sub\nforward_token", "scope * api:write", "identity_token X-Identity-Token",
	).Replace(usualCaddyfile), backend)
	found, err := s.runProbe(s.url+"/api/orders", "--backend", backend, "--forward-token")
	found.hold(t, err)
	_, unseen := found.list(probe.NotSeen)
	contains(t, strings.Join(unseen, "\n"), "the gate asks for no scope here", "identity headers of another kind")
	found, err = s.runProbe(s.url+"/api/orders", "--backend", backend)
	if failed, _ := found.list(probe.Failed); err == nil || len(failed) != 1 || failed[0] != "identity: the token stays at the gate" {
		t.Errorf("a token that is forwarded: %v, %v", err, failed)
	}
}

// TestProbeTLS: the certificate must be good, or --insecure say that it need not;
// --resolve leads to another address.
func TestProbeTLS(t *testing.T) {
	backend := freeAddress(t)
	s := newServer(t, backend)
	listens := strings.TrimPrefix(s.url, "http://")
	_, port, _ := net.SplitHostPort(listens)
	s.url = "https://gate.test:" + port
	writeSelfSigned(t, s.dir, "gate.test")
	t.Setenv("XDG_DATA_HOME", s.dir)
	if err := s.load(strings.Replace(usualCaddyfile, "$GATE {\n\toauth_issuer\n", "$GATE {\n\ttls $DIR/cert.pem $DIR/key.pem\n\toauth_issuer\n", 1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	arguments := []string{"--backend", backend, "--resolve", "gate.test:127.0.0.1"}
	if _, err := s.runProbe(s.url+"/api/orders", arguments...); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	found, err := s.runProbe(s.url+"/api/orders", append(arguments, "--insecure")...)
	found.hold(t, err)
}

func writeSelfSigned(t *testing.T, dir, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProbeRefuses: what cannot be probed is said, and why.
func TestProbeRefuses(t *testing.T) {
	b := startBackend(t)
	nobody := freeAddress(t)
	s := start(t, strings.Replace(usualCaddyfile, "reverse_proxy /api/* $BACKEND\n", `reverse_proxy /api/* $BACKEND
	oauth_protect /reported/* {
		resource $GATE/reported
		report_only
	}
	oauth_protect /optional/* {
		resource $GATE/optional
		optional
	}
	oauth_protect /some/* {
		resource $GATE/some
		public /some/health
	}
	oauth_protect /missing/* {
		resource $GATE/missing
	}
	respond /missing/* 404
`, 1), b.address)
	s.addClient("narrow", "api:write")
	s.adminCall("POST", "/oauth/clients", map[string]any{
		"client_id": "elsewhere", "client_name": "E", "grant_types": []string{"client_credentials"}, "scope": "api:read", "resources": []string{s.url + "/other"},
	}).want(t, 200)
	for _, test := range []struct {
		name, path string
		arguments  []string
		says       string
	}{
		{"unknown client", "/api/x", []string{"--token-from", "nobody"}, `there is no client "nobody"`},
		{"client without the scope", "/api/x", []string{"--token-from", "narrow"}, "does not pass the gate"},
		{"client of another resource", "/api/x", []string{"--token-from", "elsewhere"}, "may not have tokens for this resource"},
		{"no gate", "/nothing", nil, "no oauth_protect is on the way"},
		{"gate that refuses nothing", "/reported/x", nil, "report_only"},
		{"gate that needs no token", "/optional/x", nil, "optional"},
		{"open path", "/some/health", nil, "public path"},
		{"target that no token makes good", "/api//x", nil, "does not pass the gate"},
		{"the API fails", "/missing/x", nil, "404"},
		{"the route leads elsewhere", "/api/x", []string{"--backend", "127.0.0.1:0"}, "did not arrive at --backend"},
		{"the backend's address is taken", "/api/x", []string{"--backend", b.address}, "--backend: listen"},
		{"nobody listens", "/api/x", []string{"--resolve", "127.0.0.1:" + nobody}, "no connection to " + nobody},
		{"host of another URL", "/api/x", []string{"--resolve", "example.com:127.0.0.1"}, "want 127.0.0.1:ADDRESS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := s.runProbe(s.url+test.path, test.arguments...)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v; want %q", err, test.says)
			}
			if len(found.Checks) > 0 {
				t.Error("it says what it found all the same")
			}
		})
	}
	if _, err := s.runProbe("api.example.com/x"); err == nil || !strings.Contains(err.Error(), "want the URL of a request") {
		t.Errorf("no URL: %v", err)
	}
}

// TestProbeProgress: a line when it takes long, and none when it does not.
func TestProbeProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to bytes.Buffer
		report := reportProgress(&to, time.Now())
		report("token", 1)
		if to.Len() > 0 {
			t.Errorf("at once: %s", to.String())
		}
		time.Sleep(progressAfter + time.Millisecond)
		report("path", 20)
		report("method", 21)
		if want := "probing for 2 s: 20 requests sent, now those of class path\n"; to.String() != want {
			t.Errorf("%q; want %q", to.String(), want)
		}
	})
}

// TestProbeCommand: exit status, table and JSON of the real program.
func TestProbeCommand(t *testing.T) {
	b := startBackend(t)
	p := startProcess(t, usualCaddyfile, b.address)
	ran := p.run("oauth", "probe", p.url+"/api/orders", "--token-from", "app")
	if ran.status != 0 {
		t.Errorf("exit status %d: %s%s", ran.status, ran.stderr, ran.stdout)
	}
	contains(t, ran.stdout, "CLASS", "token", "revoked", "401 invalid_token", " 0 failed")
	ran = p.run("oauth", "probe", p.url+"/api/orders", "--token-from", "app", "--json", "--open", "/api/..")
	var report probe.Report
	if err := json.Unmarshal([]byte(ran.stdout), &report); err != nil || ran.status != 0 || report.Passed == 0 {
		t.Errorf("exit status %d, %v: %s", ran.status, err, ran.stderr)
	}
	ran = p.run("oauth", "probe", p.url+"/api/orders", "--token-from", "nobody")
	if ran.status != 1 || !strings.Contains(ran.stderr, `there is no client "nobody"`) || ran.stdout != "" {
		t.Errorf("exit status %d: %s", ran.status, ran.stderr)
	}
	contains(t, p.run("oauth", "probe", "--help").stdout, "--token-from", "--backend", "Against the API itself only GET", "Examples:")
	weak := startWeakGate(t, p.server, weaknesses[0])
	ran = p.run("oauth", "probe", p.url+"/api/orders", "--token-from", "app", "--resolve", "127.0.0.1:"+weak.address)
	if ran.status != 1 {
		t.Errorf("exit status %d though a check failed", ran.status)
	}
	contains(t, ran.stdout, "none", "fail", "200; want 401")
	contains(t, ran.stderr, "the gate does not hold")
}
