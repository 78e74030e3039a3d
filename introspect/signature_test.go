package introspect

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"math/big"
	"slices"
	"testing"
)

// RFC 7518 §3.4: r and s lie between 1 and the order of the curve, whatever the
// curve, and each combination of values at the edges is refused.
func TestECDSAEdges(t *testing.T) {
	signed := []byte("header.payload")
	for _, name := range []string{"ES256", "ES384", "ES512"} {
		key := pair(name).key()
		params := key.Public.(*ecdsa.PublicKey).Curve.Params()
		size := algorithmNamed(name).sigBytes
		largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(size*4)), big.NewInt(1))
		edges := []*big.Int{
			new(big.Int), big.NewInt(1), new(big.Int).Sub(params.N, big.NewInt(1)), params.N,
			new(big.Int).Add(params.N, big.NewInt(1)), params.P, largest,
		}
		for _, r := range edges {
			for _, s := range edges {
				if verifySignature(&key, signed, rawSignature(r, s, size)) == nil {
					t.Errorf("%s: (%v, %v) verifies", name, r, s)
				}
			}
		}
		// The numbers of a good signature, written as others.
		good := pair(name).signature(string(signed))
		if verifySignature(&key, signed, good) != nil {
			t.Fatalf("%s: a good signature does not verify", name)
		}
		r, s := new(big.Int).SetBytes(good[:size/2]), new(big.Int).SetBytes(good[size/2:])
		for what, other := range map[string][]byte{
			"r and s in the other order": rawSignature(s, r, size),
			"r and s of one byte more":   rawSignature(r, s, size+2),
			"r + n":                      rawSignature(new(big.Int).Add(r, params.N), s, size+2),
			"s + n":                      rawSignature(r, new(big.Int).Add(s, params.N), size+2),
			"n - r":                      rawSignature(new(big.Int).Sub(params.N, r), s, size),
		} {
			if verifySignature(&key, signed, other) == nil {
				t.Errorf("%s: %s verifies", name, what)
			}
		}
	}
}

// encoded is what an RSA signature is of: as long as the modulus.
type encoded []byte

// signature makes the RSA signature that bears exactly this encoding.
func (e encoded) signature(key *rsa.PrivateKey) []byte {
	m := new(big.Int).SetBytes(e)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// sha256Info is the DigestInfo of RFC 8017 §9.2 before a SHA-256 digest.
const sha256Info = "3031300d060960864801650304020105000420"

// RFC 7518 §3.3, RFC 8017 §8.2.2: there is one encoding of a digest, and whatever
// another reader of ASN.1 would take for the same is refused.
func TestRSAEncoding(t *testing.T) {
	signed := []byte("header.payload")
	digest := sha256.Sum256(signed)
	weak := sha1.Sum(signed)
	private := pair("RS256").private.(*rsa.PrivateKey)
	info := func(prefix string, digest []byte, suffix ...byte) []byte {
		return slices.Concat(unhex(prefix), digest, suffix)
	}
	good := info(sha256Info, digest[:])
	// pad is 00 01 FF..FF 00 before the text, to the length of the modulus.
	pad := func(text []byte) encoded {
		filling := bytes.Repeat([]byte{0xff}, private.Size()-3-len(text))
		return slices.Concat([]byte{0, 1}, filling, []byte{0}, text)
	}
	changed := func(at int, value byte) encoded {
		e := pad(good)
		e[at] = value
		return e
	}
	key := pair("RS256").key()
	if verifySignature(&key, signed, pad(good).signature(private)) != nil {
		t.Fatal("the right encoding does not verify")
	}
	first := private.Size() - len(good) // where the DigestInfo begins
	for what, wrong := range map[string]encoded{
		"the length in long form":            pad(info("308131300d060960864801650304020105000420", digest[:])),
		"the length in long form, with zero": pad(info("30820031300d060960864801650304020105000420", digest[:])),
		"an indefinite length":               pad(info("3080300d060960864801650304020105000420", digest[:], 0, 0)),
		"a length one more":                  pad(info("3032300d060960864801650304020105000420", digest[:])),
		"the inner length in long form":      pad(info("303230810d060960864801650304020105000420", digest[:])),
		"an OID with a leading zero":         pad(info("3032300e060a8060864801650304020105000420", digest[:])),
		"no parameters":                      pad(info("302f300b0609608648016503040201"+"0420", digest[:])),
		"parameters in long form":            pad(info("3032300e06096086480165030402010581000420", digest[:])),
		"other parameters":                   pad(info("3033300f0609608648016503040201040201020420", digest[:])),
		"the digest in long form":            pad(info("3032300d06096086480165030402010500048120", digest[:])),
		"the digest as a bit string":         pad(info("3031300d060960864801650304020105000320", digest[:])),
		"the digest without DigestInfo":      pad(digest[:]),
		"the OID of SHA-512":                 pad(info("3031300d060960864801650304020305000420", digest[:])),
		"SHA-1":                              pad(info("3021300906052b0e03021a05000414", weak[:])),
		"a digest cut short":                 pad(info("3030300d06096086480165030402010500041f", digest[:31])),
		"bytes behind it, inside":            pad(info("3033300d060960864801650304020105000420", digest[:], 5, 0)),
		"bytes behind it":                    pad(info(sha256Info, digest[:], 0)),
		// What CVE-2006-4339 and its successors forged.
		"little padding, much behind it": slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, good,
			bytes.Repeat([]byte{1}, private.Size()-11-len(good))),
		"no padding":                     slices.Concat([]byte{0, 1, 0}, make([]byte, private.Size()-3-len(good)), good),
		"another block type":             changed(1, 2),
		"block type 0":                   changed(1, 0),
		"a first byte":                   changed(0, 1),
		"a hole in the padding":          changed(first/2, 0),
		"another byte in the padding":    changed(first/2, 0xfe),
		"another first byte of padding":  changed(2, 0xfe),
		"another last byte of padding":   changed(first-2, 0xfe),
		"another byte after the padding": changed(first-1, 1),
		"another digest":                 changed(private.Size()-1, ^digest[31]),
		"zero":                           make([]byte, private.Size()),
		"one":                            append(make([]byte, private.Size()-1), 1),
	} {
		if len(wrong) != private.Size() {
			t.Fatalf("%s: %d bytes", what, len(wrong))
		}
		if verifySignature(&key, signed, wrong.signature(private)) == nil {
			t.Errorf("%s: verifies", what)
		}
	}
	rsaNumbers(t, &key, signed, pad(good).signature(private))
}

// rsaNumbers checks that a good RSA signature is refused as another number that
// is the same modulo the modulus, or in another length.
func rsaNumbers(t *testing.T, key *Key, signed, good []byte) {
	t.Helper()
	n := key.Public.(*rsa.PublicKey).N
	s := new(big.Int).SetBytes(good)
	for what, wrong := range map[string][]byte{
		"s + n":             new(big.Int).Add(s, n).FillBytes(make([]byte, len(good)+1)),
		"n - s":             new(big.Int).Sub(n, s).FillBytes(make([]byte, len(good))),
		"n":                 n.Bytes(),
		"zero":              make([]byte, len(good)),
		"a zero before it":  append([]byte{0}, good...),
		"a zero behind it":  append(slices.Clone(good), 0),
		"its last byte cut": good[:len(good)-1],
		"nothing":           {},
	} {
		if verifySignature(key, signed, wrong) == nil {
			t.Errorf("%s: %s verifies", key.Algorithm, what)
		}
	}
}

// pssEncoding is EMSA-PSS of RFC 8017 §9.1.1, each part of which can be wrong.
type pssEncoding struct {
	salt      int              // length
	hash      func() hash.Hash // of the digest and the seed
	mask      func() hash.Hash // of MGF1
	separator byte             // between the padding and the salt
	filling   byte             // of the padding
	trailer   byte
}

func (p pssEncoding) encode(signed []byte, size int) encoded {
	sum := func(parts ...[]byte) []byte {
		h := p.hash()
		h.Write(slices.Concat(parts...))
		return h.Sum(nil)
	}
	salt := bytes.Repeat([]byte{0xa5}, p.salt)
	seed := sum(make([]byte, 8), sum(signed), salt)
	block := bytes.Repeat([]byte{p.filling}, size-len(seed)-1-len(salt)-1)
	block = slices.Concat(block, []byte{p.separator}, salt)
	for i, b := range mgf1(p.mask, seed, len(block)) {
		block[i] ^= b
	}
	block[0] &= 0x7f // the modulus has one bit more than the encoding
	return slices.Concat(block, seed, []byte{p.trailer})
}

func mgf1(newHash func() hash.Hash, seed []byte, length int) []byte {
	var mask []byte
	for counter := byte(0); len(mask) < length; counter++ {
		h := newHash()
		h.Write(slices.Concat(seed, []byte{0, 0, 0, counter}))
		mask = h.Sum(mask)
	}
	return mask[:length]
}

// RFC 7518 §3.5, RFC 8017 §9.1.2: the salt is as long as the hash, the hash of the
// mask is that of the digest, and every bit between is judged.
func TestRSAPSSEncoding(t *testing.T) {
	signed := []byte("header.payload")
	private := pair("PS256").private.(*rsa.PrivateKey)
	key := pair("PS256").key()
	sign := func(change func(*pssEncoding)) []byte {
		p := pssEncoding{salt: sha256.Size, hash: sha256.New, mask: sha256.New, separator: 1, trailer: 0xbc}
		change(&p)
		return p.encode(signed, private.Size()).signature(private)
	}
	good := sign(func(*pssEncoding) {})
	if verifySignature(&key, signed, good) != nil {
		t.Fatalf("the right encoding does not verify: %s", hex.EncodeToString(good))
	}
	for what, change := range map[string]func(*pssEncoding){
		"no salt":                      func(p *pssEncoding) { p.salt = 0 },
		"a salt as long as SHA-1":      func(p *pssEncoding) { p.salt = sha1.Size },
		"a salt one byte shorter":      func(p *pssEncoding) { p.salt-- },
		"a salt one byte longer":       func(p *pssEncoding) { p.salt++ },
		"a salt as long as it can be":  func(p *pssEncoding) { p.salt = private.Size() - 2 - sha256.Size },
		"the mask of SHA-1":            func(p *pssEncoding) { p.mask = sha1.New },
		"all of SHA-1":                 func(p *pssEncoding) { p.hash, p.mask, p.salt = sha1.New, sha1.New, sha1.Size },
		"another trailer (ISO 9796-2)": func(p *pssEncoding) { p.trailer = 0xcc },
		"no separator":                 func(p *pssEncoding) { p.separator = 0 },
		"another separator":            func(p *pssEncoding) { p.separator = 2 },
		"padding that is not zero":     func(p *pssEncoding) { p.filling = 1 },
	} {
		if verifySignature(&key, signed, sign(change)) == nil {
			t.Errorf("%s: verifies", what)
		}
	}
	rsaNumbers(t, &key, signed, good)
}
