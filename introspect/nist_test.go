package introspect

import (
	"bufio"
	"math/big"
	"os"
	"strings"
	"testing"
)

// NIST: signatures of each curve with the hash that RFC 7518 §3.4 puts to it, of
// which four in five have been tampered with.
func TestNISTSignatures(t *testing.T) {
	file, err := os.Open("testdata/nist/SigVer.rsp")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	algorithms := map[string]string{"[P-256,SHA-256]": "ES256", "[P-384,SHA-384]": "ES384", "[P-521,SHA-512]": "ES512"}
	var algorithm *signatureAlgorithm
	fields := make(map[string]string)
	tests := make(map[string]int)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "[") {
			algorithm = algorithmNamed(algorithms[line])
		}
		name, value, found := strings.Cut(line, " = ")
		if !found {
			continue
		}
		if fields[name] = value; name != "Result" {
			continue
		}
		valid := strings.HasPrefix(value, "P")
		if got := verifiesNIST(algorithm, fields); got != valid {
			t.Errorf("%s, %s: verifies: %v", algorithm.name, value, got)
		}
		tests[algorithm.name]++
	}
	for _, name := range algorithms {
		if tests[name] != 15 {
			t.Errorf("%s: %d vectors, want 15", name, tests[name])
		}
	}
}

// verifiesNIST tells whether the key is one and the signature is its own.
func verifiesNIST(algorithm *signatureAlgorithm, fields map[string]string) bool {
	half := algorithm.sigBytes / 2
	number := func(name string) string {
		return string(new(big.Int).SetBytes(unhex(fields[name])).FillBytes(make([]byte, half)))
	}
	keys, err := ParseKeySet(jwks(map[string]any{
		"kty": "EC", "kid": "nist", "crv": algorithm.curve, "x": b64(number("Qx")), "y": b64(number("Qy")),
	}))
	if err != nil {
		return false
	}
	return verifySignature(&keys[0], unhex(fields["Msg"]), []byte(number("R")+number("S"))) == nil
}
