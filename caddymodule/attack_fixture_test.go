package caddymodule

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// attackSite is a Caddy with an issuer and a gate, told apart by their ports, so
// that nothing but the module itself decides on what a Host header says. Behind
// the gate is a backend that keeps what it reads byte for byte.
type attackSite struct {
	*server        // its url is that of the issuer's listener
	text    string // the Caddyfile, with the names that are the site's own filled in
	backend *attackBackend
	outside *outside
	idp     *attackIdP
	keys    attackKeys // of the issuers at idp

	// Addresses, as host:port: issuer and gate, without TLS and with it. TLS
	// speaks HTTP/1.1, HTTP/2 and HTTP/3.
	issuer, gate       string
	issuerTLS, gateTLS string
}

// startAttackSite fills in a Caddyfile and starts it. Besides the names of
// (*server).caddyfile it knows the site addresses $AS and $GW, $AS_TLS and
// $GW_TLS, $TLS, which is a tls directive with a certificate for every name of the
// fixture, and $IDP, the URL of attackIdP.
func startAttackSite(t *testing.T, caddyfile string) *attackSite {
	t.Helper()
	s := &attackSite{backend: startAttackBackend(t), outside: startOutside(t), idp: startAttackIdP(t), keys: newAttackKeys()}
	s.idp.publishAll(s.keys)
	for _, address := range []*string{&s.issuer, &s.gate, &s.issuerTLS, &s.gateTLS} {
		*address = freeAddress(t)
	}
	certificate, key := writeCertificate(t)
	s.text = s.fill(caddyfile, certificate, key)
	s.server = start(t, s.text, s.backend.address)
	s.server.url = "http://" + s.issuer
	return s
}

func (s *attackSite) fill(caddyfile, certificate, key string) string {
	port := func(address string) string { return address[strings.LastIndexByte(address, ':'):] }
	return strings.NewReplacer(
		"$AS_TLS", "https://"+port(s.issuerTLS), "$GW_TLS", "https://"+port(s.gateTLS),
		"$AS", "http://"+port(s.issuer), "$GW", "http://"+port(s.gate),
		"$TLS", "tls "+certificate+" "+key, "$IDP", s.idp.url,
	).Replace(caddyfile)
}

// writeCertificate makes a certificate for the names of the fixture and returns
// the files it and its key are in.
func writeCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"as.test", "gw.test", "api.test", "localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

// logFiles are what the server writes: its own log and, where the Caddyfile asks
// for it, that of requests.
func (s *attackSite) logFiles() []string {
	return []string{s.logFile(), filepath.Join(s.dir, "access.log")}
}

// logLength is a mark in the logs, for logSince.
func (s *attackSite) logLength() (mark [2]int64) {
	for n, name := range s.logFiles() {
		if info, err := os.Stat(name); err == nil {
			mark[n] = info.Size()
		}
	}
	return mark
}

// logSince returns what was logged after the mark.
func (s *attackSite) logSince(mark [2]int64) []byte {
	s.t.Helper()
	var all bytes.Buffer
	for n, name := range s.logFiles() {
		file, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = io.Copy(&all, io.NewSectionReader(file, mark[n], 1<<30))
		if err = errors.Join(err, file.Close()); err != nil {
			s.t.Fatal(err)
		}
	}
	return all.Bytes()
}
