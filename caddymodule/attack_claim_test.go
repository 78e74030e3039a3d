package caddymodule

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var moment = regexp.MustCompile(`^"?NOW ?([+-]) ?([0-9.]+)( years)?"?`)

// claimValue is the value that a title describes, as JSON; remove is true for
// none at all.
func claimValue(text string) (value string, remove bool) {
	described := map[string]string{
		"client_id of web (ID-token style)": `"web"`,
		"invalid UTF-8 byte 0xff":           "\"a\xffb\"",
		"64 KiB string":                     `"` + strings.Repeat("s", 64<<10) + `"`,
	}
	if known, ok := described[text]; ok {
		return known, false
	}
	if text == "missing" {
		return "", true
	}
	if found := moment.FindStringSubmatch(text); found != nil {
		offset, err := strconv.ParseFloat(found[1]+found[2], 64)
		if err != nil {
			panic(err)
		}
		if found[3] != "" {
			offset *= 365 * 24 * 3600
		}
		seconds := strconv.FormatFloat(float64(time.Now().Unix())+offset, 'f', -1, 64)
		if strings.HasPrefix(text, `"`) {
			return `"` + seconds + `"`, false
		}
		return seconds, false
	}
	text, _, _ = strings.Cut(text, " (")
	return strings.TrimSuffix(text, " with exp valid"), false
}

// claimToken has one claim that is wrong, and is signed correctly all the same.
func claimToken(title string) attackCode {
	name, described, _ := strings.Cut(title, " = ")
	return presentOne(func(a *attempt) string {
		value, remove := claimValue(described)
		if remove {
			return a.signed(nil, map[string]any{name: nil})
		}
		return withClaim(a, name, value)
	})
}

// withClaim puts any text at all in place of a claim's value.
func withClaim(a *attempt, name, value string) string {
	const place = `"the value"`
	key := issuerKey(a.T, rsaIssuer)
	claims := goodClaims(rsaIssuer, map[string]any{name: json.RawMessage(place)})
	return key.sign(key.header(nil), strings.Replace(claims, place, value, 1))
}

// scopeToken asks for what needs the scope admin. Only the member "admin" of a
// text with spaces between is that.
func scopeToken(title string) attackCode {
	values := []string{title}
	wanted := 403
	switch {
	case title == `"admin read" string`:
		values, wanted = []string{`"admin read"`}, 200
	case strings.Contains(title, " / "):
		values = []string{`" read"`, `"read "`, `"read  write"`, `" admin"`, `"admin "`}
		wanted = 0
	case strings.HasSuffix(title, " array"):
		values, wanted = []string{strings.TrimSuffix(title, " array")}, 0
	case title == "{}":
		wanted = 0
	case strings.HasPrefix(title, `"READ"`):
		values = []string{`"READ"`, `"ADMIN"`, `"administrator"`, `"xadmin"`, `"admin,read"`, `"admin\tread"`}
		wanted = 0
	}
	return func(a *attempt) {
		for _, value := range values {
			token := a.signed(nil, map[string]any{"scope": nil})
			if value != "missing" {
				token = withClaim(a, "scope", value)
			}
			e := a.toGate("GET", "/api/admin", a.shows(token))
			a.judge(e)
			exact := slices.Contains(strings.Split(strings.Trim(value, `"`), " "), "admin")
			if e.StatusCode == 200 && !exact || wanted != 0 && e.StatusCode != wanted {
				a.Errorf("scope %s: status %d (%s)", value, e.StatusCode, e.errorCode())
			}
		}
	}
}
