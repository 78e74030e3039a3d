package probe

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenTrials: tokens that are no good. The issuer itself made the first ones, so
// that nothing but what they are named for is wrong with them; strangers make the
// others.
func (p *probe) tokenTrials() []*trial {
	const class = "token"
	invalid := p.refusedWith("invalid_token", http.StatusUnauthorized)
	given := p.given.Tokens
	trials := []*trial{one(class, "none", p.refusedWith("", http.StatusUnauthorized), p.get())}
	for _, bad := range []struct{ name, token string }{
		{"expired", given.Expired},
		{"revoked", given.Revoked},
		{"for another resource", given.OtherAudience},
		{"for a resource whose name begins with this one's", given.MoreAudience},
		{"typ JWT, such as an ID token", given.OtherType},
	} {
		trials = append(trials, one(class, bad.name, invalid, p.get(bearerField(bad.token))))
	}
	f, err := newForger(given.Good, given.JWKS)
	if err != nil {
		return append(trials, &trial{class: class, name: "forged", unseen: err.Error()})
	}
	for _, forgery := range []struct {
		name   string
		tokens map[string]string
	}{
		{"signed with a foreign key", f.foreignKeys()},
		{"alg none", f.unsignedTokens()},
		{"HS256 with the public key as its secret", f.confusedTokens()},
		{"HS256 with a secret that is a file's", f.fileTokens()},
		{"claims altered under the old signature", f.alteredTokens()},
		{"header altered under the old signature", f.reheadedTokens()},
		{"signature missing or wrong", f.badSignatures(given.Expired)},
	} {
		trials = append(trials, p.tokenTrial(class, forgery.name, invalid, forgery.tokens))
	}
	anyRefusal := p.refusedWith("-", http.StatusUnauthorized, http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge)
	return append(trials,
		p.tokenTrial(class, "not a token at all", anyRefusal, f.garbage()),
		p.tokenTrial(class, "the good token, spelled otherwise", anyRefusal, f.otherSpellings()),
		p.schemeTrial(class, anyRefusal),
	)
}

// tokenTrial tries several tokens, in the order of their names.
func (p *probe) tokenTrial(class, name string, judge func(*result) Finding, tokens map[string]string) *trial {
	t := &trial{class: class, name: name, judge: judge}
	for _, what := range slices.Sorted(maps.Keys(tokens)) {
		t.shots = append(t.shots, p.get(bearerField(tokens[what])).named(what))
	}
	return t
}

// schemeTrial: credentials of other schemes are no bearer token, whatever they
// hold (RFC 6750 §2.1).
func (p *probe) schemeTrial(class string, judge func(*result) Finding) *trial {
	t := &trial{class: class, name: "the good token in another scheme", judge: judge}
	for _, scheme := range []string{"Basic", "Digest", "Negotiate", "DPoP", "JWT", "Token", "Bearer:", "Bearer token ="} {
		t.shots = append(t.shots, p.get("Authorization: "+scheme+" "+p.given.Tokens.Good).named(scheme))
	}
	return t
}

func (f *forger) foreignKeys() map[string]string {
	public := map[string]any{"kty": "oct", "k": encodedPart([]byte("secret"))}
	return map[string]string{
		"under the issuer's kid":    f.signed(nil),
		"under a kid of its own":    f.signed(map[string]any{"kid": "probe"}),
		"without a kid":             f.signed(map[string]any{"kid": nil}),
		"that the jwk header holds": f.signed(map[string]any{"jwk": public}),
		"that the jku header names": f.signed(map[string]any{"jku": "https://probe.invalid/jwks.json"}),
		"that the x5u header names": f.signed(map[string]any{"x5u": "https://probe.invalid/cert.pem"}),
	}
}

func (f *forger) unsignedTokens() map[string]string {
	tokens := make(map[string]string)
	for _, algorithm := range []string{"none", "None", "NONE", "nOnE", ""} {
		tokens[`alg "`+algorithm+`"`] = f.unsigned(algorithm, "")
		tokens[`alg "`+algorithm+`" and the old signature`] = f.unsigned(algorithm, f.parts[2])
	}
	tokens["alg none, two parts"] = strings.TrimSuffix(f.unsigned("none", ""), ".")
	return tokens
}

func (f *forger) confusedTokens() map[string]string {
	tokens := make(map[string]string)
	for form, secret := range f.publicTexts() {
		tokens[form] = f.hmacSigned(secret, nil)
	}
	return tokens
}

func (f *forger) fileTokens() map[string]string {
	tokens := make(map[string]string)
	for _, kid := range []string{"/dev/null", "../../../../../../dev/null", "' UNION SELECT '' -- ", ""} {
		tokens[`kid "`+kid+`"`] = f.hmacSigned(nil, map[string]any{"kid": kid})
	}
	return tokens
}

func (f *forger) alteredTokens() map[string]string {
	return map[string]string{
		"sub":       f.altered(map[string]any{"sub": "admin"}),
		"client_id": f.altered(map[string]any{"client_id": "admin"}),
		"scope":     f.altered(map[string]any{"scope": "admin openid"}),
		"exp":       f.altered(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}),
		"aud":       f.altered(map[string]any{"aud": []any{f.claims["aud"], "https://probe.invalid/"}}),
		"iss":       f.altered(map[string]any{"iss": "https://probe.invalid/"}),
	}
}

func (f *forger) reheadedTokens() map[string]string {
	rest := "." + f.parts[1] + "." + f.parts[2]
	tokens := make(map[string]string)
	for name, changes := range map[string]map[string]any{
		"alg":  {"alg": "ES512"},
		"kid":  {"kid": "probe"},
		"typ":  {"typ": "JWT"},
		"crit": {"crit": []string{"probe"}, "probe": true},
	} {
		tokens[name] = part(with(f.header, changes)) + rest
	}
	return tokens
}

func (f *forger) badSignatures(other string) map[string]string {
	input := f.parts[0] + "." + f.parts[1] + "."
	return map[string]string{
		"empty":              input,
		"cut off":            input + f.parts[2][:len(f.parts[2])/2],
		"zero":               input + encodedPart(make([]byte, 64)),
		"with one other bit": input + flipped(f.parts[2]),
		"of another token":   input + other[strings.LastIndexByte(other, '.')+1:],
	}
}

// flipped changes the first character of an encoded part.
func flipped(encoded string) string {
	if encoded[0] == 'A' {
		return "B" + encoded[1:]
	}
	return "A" + encoded[1:]
}

func (f *forger) garbage() map[string]string {
	return map[string]string{
		"one word":           "probe",
		"dots":               "..",
		"three words":        "a.b.c",
		"four parts":         f.good + ".x",
		"five parts":         f.good + ".x.y",
		"64 KiB":             strings.Repeat("A", 64<<10),
		"JSON":               `{"payload":"` + f.parts[1] + `","protected":"` + f.parts[0] + `","signature":"` + f.parts[2] + `"}`,
		"an empty object":    encodedPart([]byte("{}")) + "." + encodedPart([]byte("{}")) + "." + f.parts[2],
		"two tokens, commas": f.good + "," + f.good,
	}
}

// otherSpellings mean the good token to a lenient reader. One that passes would
// pass lists of revoked tokens, too.
func (f *forger) otherSpellings() map[string]string {
	tokens := map[string]string{
		"padding":                f.good + "==",
		"quoted":                 `"` + f.good + `"`,
		"encoded dots":           strings.ReplaceAll(f.good, ".", "%2e"),
		"a space in it":          f.parts[0] + ". " + f.parts[1] + "." + f.parts[2],
		"a parameter":            "token=" + f.good,
		"unused bits of its end": looseEnd(f.good),
	}
	if other := strings.NewReplacer("-", "+", "_", "/").Replace(f.good); other != f.good {
		tokens["the other alphabet"] = other
	}
	return tokens
}

// looseEnd changes bits of the last character that decode to nothing.
func looseEnd(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])^1])
}
