package introspect

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// vectors is a file of Wycheproof. Its origin is told in testdata/wycheproof.
type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment      string
		Public       json.RawMessage // a key, or a key set
		PublicKeyJWK map[string]any  `json:"publicKeyJwk"`
		SHA          string
		Tests        []vector
	}
}

type vector struct {
	ID       int `json:"tcId"`
	Comment  string
	JWS      *string
	Msg, Sig string // in hexadecimal
	Result   string // valid, invalid or acceptable
}

func readVectors(t *testing.T, name string) *vectors {
	t.Helper()
	file := new(vectors)
	if err := json.Unmarshal(must(os.ReadFile("testdata/wycheproof/"+name)), file); err != nil {
		t.Fatal(err)
	}
	tests := 0
	for _, group := range file.TestGroups {
		tests += len(group.Tests)
	}
	if tests == 0 || tests != file.NumberOfTests {
		t.Fatalf("%s has %d tests and says %d", name, tests, file.NumberOfTests)
	}
	return file
}

// judge compares what was found about each vector with what Wycheproof says.
// Vectors that are valid and refused nevertheless must stand among refusals with
// the reason, and nothing else may.
func (file *vectors) judge(t *testing.T, refusals map[int]string, verifies func(group int, v vector) bool) {
	t.Helper()
	for i, group := range file.TestGroups {
		for _, v := range group.Tests {
			reason, refused := refusals[v.ID]
			delete(refusals, v.ID)
			if v.Result != "valid" && v.Result != "invalid" {
				t.Errorf("%d %s: %q is not decided here", v.ID, v.Comment, v.Result)
			}
			if refused && v.Result != "valid" {
				t.Errorf("%d %s: there is no need for a reason (%s)", v.ID, v.Comment, reason)
			}
			if got, want := verifies(i, v), v.Result == "valid" && !refused; got != want {
				t.Errorf("%s, %d %s: verifies: %v, want %v", group.Comment, v.ID, v.Comment, got, want)
			}
		}
	}
	for id, reason := range refusals {
		t.Errorf("no vector %d (%s)", id, reason)
	}
}

const (
	symmetric   = "no symmetric algorithm (RFC 8725 §3.1)"
	otherKeyAlg = "the key is published for another alg than the token's (RFC 8725 §3.1)"
	unknownAlg  = "the key is published for ES521, which is no algorithm (RFC 7518 §3.1)"
)

// Wycheproof: whole tokens. Keys are read from a published set, the only way
// that they come to a RemoteKeySet.
func TestWycheproofJSONWebSignature(t *testing.T) {
	file := readVectors(t, "json_web_signature_test.json")
	refusals := map[int]string{
		1: symmetric, 348: symmetric, 352: symmetric, 357: symmetric, 376: symmetric, 377: symmetric,
		346: otherKeyAlg, 350: otherKeyAlg, 347: unknownAlg, 351: unknownAlg,
		// Wycheproof calls them valid, because some decoders skip what they do not know.
		372: "a question mark is not base64url (RFC 7515 §2)",
		373: "a question mark is not base64url (RFC 7515 §2)",
	}
	file.judge(t, refusals, func(group int, v vector) bool {
		key := string(file.TestGroups[group].Public)
		return key != "" && verifiesJWS(t, `{"keys":[`+key+`]}`, *v.JWS)
	})
}

// Wycheproof: key sets with a token each.
func TestWycheproofJSONWebKey(t *testing.T) {
	file := readVectors(t, "json_web_key_test.json")
	refusals := map[int]string{2: symmetric}
	file.judge(t, refusals, func(group int, v vector) bool {
		return verifiesJWS(t, string(file.TestGroups[group].Public), *v.JWS)
	})
}

// verifiesJWS tells whether a token that need not have claims, or a typ, is
// signed by one of the published keys.
func verifiesJWS(t *testing.T, published, token string) bool {
	t.Helper()
	keys, err := ParseKeySet([]byte(published))
	if err != nil {
		return false
	}
	j := &JWT{JWTConfig{Keys: must(NewStaticKeySet(keys...)), Types: []string{""}}}
	_, err = j.verify(t.Context(), token)
	if err != nil {
		wantInactive(t, err, "")
	}
	return err == nil
}

// Wycheproof: ECDSA signatures at the edges of the arithmetic, all of them
// written as RFC 7518 §3.4 wants them.
func TestWycheproofECDSA(t *testing.T) {
	readVectors(t, "ecdsa_secp256r1_sha256_p1363_test.json").judgeSignatures(t, "ES256")
}

// Wycheproof: Ed25519 (RFC 8032 §5.1.7).
func TestWycheproofEd25519(t *testing.T) {
	readVectors(t, "ed25519_test.json").judgeSignatures(t, "EdDSA")
}

// judgeSignatures judges vectors that are signatures of any bytes.
func (file *vectors) judgeSignatures(t *testing.T, algorithm string) {
	t.Helper()
	keys := make([]*Key, len(file.TestGroups))
	for i, group := range file.TestGroups {
		jwk := group.PublicKeyJWK
		jwk["alg"] = algorithm
		parsed, err := ParseKeySet(jwks(jwk))
		if err != nil {
			t.Fatalf("the key of group %d: %v", i, err)
		}
		keys[i] = &parsed[0]
	}
	file.judge(t, nil, func(group int, v vector) bool {
		return verifySignature(keys[group], unhex(v.Msg), unhex(v.Sig)) == nil
	})
}

// unhex reads hexadecimal digits, of which there may be an odd number.
func unhex(digits string) []byte {
	return must(hex.DecodeString(strings.Repeat("0", len(digits)%2) + digits))
}
