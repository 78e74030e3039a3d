package caddymodule

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func segmentedToken(title string) attackCode {
	return present("/api/a", func(a *attempt) []string {
		token := a.goodToken()
		switch title {
		case "4 parts":
			return []string{token + ".x"}
		case "5 parts":
			return []string{token + ".x.y"}
		case "only dots":
			return []string{".."}
		case "empty":
			return []string{""}
		case "leading/trailing dot":
			return []string{"." + token, token + "."}
		}
		a.Fatalf("what is %q?", title)
		return nil
	})
}

// encodedToken is a good token in another spelling.
func encodedToken(title string) attackCode {
	return func(a *attempt) {
		token := a.goodToken()
		parts := strings.Split(token, ".")
		var credentials []string
		switch title {
		case "leading/trailing space":
			credentials = []string{"Bearer  " + token}
			a.judge(revokedWithSpace(a))
		case "padding = on the parts":
			credentials = []string{
				"Bearer " + token + "==", "Bearer " + parts[0] + "=." + parts[1] + "=." + parts[2],
				token + "=", // without a scheme
			}
		case "non-canonical trailing bits":
			credentials = []string{"Bearer " + looseClaims(a)}
			for _, issuer := range []string{rsaIssuer, ecIssuer, edIssuer} {
				credentials = append(credentials, "Bearer "+looseBits(a.signedBy(issuerKey(a.T, issuer), issuer, nil, nil)))
			}
		case "percent-encoded dot":
			credentials = []string{"Bearer " + strings.ReplaceAll(token, ".", "%2e"), "Bearer " + strings.ReplaceAll(token, ".", "%2E")}
		case "unicode dot":
			for _, dot := range []string{"\u3002", "\uff0e"} {
				credentials = append(credentials, "Bearer "+strings.ReplaceAll(token, ".", dot))
			}
		case "JSON serialization, 2 signatures, first bad":
			credentials = []string{fmt.Sprintf(`Bearer {"payload":"%s","signatures":[{"protected":"%s","signature":"AAAA"},{"protected":"%s","signature":"%s"}]}`,
				parts[1], parts[0], parts[0], parts[2])}
		case "JSON JWS without protected":
			credentials = []string{`Bearer {"payload":"e30","signature":"AAAA"}`}
		case "comma list":
			credentials = []string{"Bearer " + token + ", Bearer " + resign(token, `{"alg":"none"}`, ""), "Bearer " + token + "," + token}
		case "quoted":
			credentials = []string{`Bearer "` + token + `"`}
		case "auth-param form":
			credentials = []string{"Bearer token=" + token, `Bearer token="` + token + `"`}
		default:
			a.Fatalf("what is %q?", title)
		}
		a.plant(parts[2])
		for _, value := range credentials {
			a.judge(a.toGate("GET", "/api/a", "Authorization: "+value))
		}
	}
}

// revokedWithSpace: white space after a field value belongs to no value (RFC 9110
// §5.5), so T and a space is T, and must be found where T is: among the revoked.
func revokedWithSpace(a *attempt) exchange {
	token := a.token("svc", appSecret, "scope=read", "resource=https://api.test")
	if e := a.toGate("GET", "/api/a", a.shows(token)); e.StatusCode != 200 {
		a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
	}
	a.revoke(token)
	a.backend.take()
	return a.toGate("GET", "/api/a", bearer(token+" "))
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// looseBits sets a bit in the last character that stands for nothing.
func looseBits(text string) string {
	last := strings.IndexByte(base64Alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(base64Alphabet[last|1])
}

// looseClaims signs a payload whose last character has such a bit.
func looseClaims(a *attempt) string {
	key := issuerKey(a.T, rsaIssuer)
	claims := goodClaims(rsaIssuer, nil)
	for len(claims)%3 == 0 {
		claims += " "
	}
	signed := b64u(key.header(nil)) + "." + looseBits(b64u(claims))
	return signed + "." + b64u(string(key.signature(signed)))
}

// longToken is refused before it is read. What it costs the module is measured
// without net/http, which reads the header in any case.
func longToken(kibibytes string) attackCode {
	size, err := strconv.Atoi(kibibytes)
	if err != nil {
		panic(err)
	}
	return func(a *attempt) { a.costs(strings.Repeat("A", size<<10)) }
}

// costs shows a token, and measures what judging it costs: the least of a few
// tries, since others run on the machine too.
func (a *attempt) costs(token string) {
	a.judge(a.toGate("GET", "/api/a", bearer(token)))
	a.measured["latency"] = milliseconds(a.exchanges[0].took)
	for range 4 {
		e := a.toGate("GET", "/api/a", bearer(token))
		a.measured["latency"] = min(a.measured["latency"], milliseconds(e.took))
	}
	issuer, err := activeApp(a.T).issuer(context.Background(), rsaIssuer)
	if err != nil {
		a.Fatal(err)
	}
	for n := range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		started := time.Now()
		if _, err := issuer.Introspect(context.Background(), token); err == nil {
			a.Error("the token is taken for good")
		}
		took := milliseconds(time.Since(started))
		runtime.ReadMemStats(&after)
		allocated := float64(after.TotalAlloc - before.TotalAlloc)
		if n == 0 || took < a.measured["cpu"] {
			a.measured["cpu"] = took
		}
		if n == 0 || allocated < a.measured["alloc"] {
			a.measured["alloc"], a.measured["rss_delta"] = allocated, allocated
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
