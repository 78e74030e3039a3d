package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// claims are the members of an ID token or of a UserInfo answer.
type claims map[string]any

// registered are the claims that decide whether an ID token is accepted.
var registered = []string{"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "auth_time"}

// claimsOf reads the claims with decode. A name that equals a registered one but
// for its case is refused: encoding/json takes both for the same member of a
// struct, so a claim that the person may choose could stand for the checked one.
func claimsOf(decode func(any) error) (claims, error) {
	var all claims
	if err := decode(&all); err != nil || all == nil {
		return nil, errors.New("the claims are not a JSON object")
	}
	for name := range all {
		for _, known := range registered {
			if name != known && strings.EqualFold(name, known) {
				return nil, fmt.Errorf("a claim is spelled like %s but for its case", known)
			}
		}
	}
	return all, nil
}

// text returns a claim that is a string, and "" for any other.
func (c claims) text(name string) string {
	text, _ := c[name].(string)
	return text
}

// isTrue tells whether a claim says yes. Absent is no. Some providers write
// booleans as strings.
func (c claims) isTrue(name string) bool { return c[name] == true || c[name] == "true" }

// time returns a claim that is a NumericDate (RFC 7519 §2), and the zero time
// for any other.
func (c claims) time(name string) time.Time {
	seconds, ok := c[name].(float64)
	if !ok || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// texts returns a claim that is an array of strings, at most 16 that are
// identifiers.
func (c claims) texts(name string) (texts []string) {
	values, _ := c[name].([]any)
	for _, value := range values {
		text, _ := value.(string)
		if text = identifier(text, 64); text != "" && len(texts) < 16 {
			texts = append(texts, text)
		}
	}
	return texts
}

// displayText returns text to show: at most limit characters, without control
// characters and those that turn the direction of what stands around them.
func displayText(text string, limit int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, text))
	if characters := []rune(text); len(characters) > limit {
		text = strings.TrimSpace(string(characters[:limit]))
	}
	return text
}

// identifier returns text that names something, whole or not at all: what is
// left of a name after a change may be the name of somebody else. It has at most
// limit bytes and nothing that cannot be seen.
func identifier(text string, limit int) string {
	hidden := func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }
	if len(text) > limit || strings.ContainsFunc(text, hidden) || strings.TrimSpace(text) != text {
		return ""
	}
	return text
}
