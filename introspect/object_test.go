package introspect

import (
	"strings"
	"testing"
)

// What ReadObject promises to those who decode what it returns.
func TestReadObject(t *testing.T) {
	members, err := ReadObject([]byte(" {\"a\": [1, {\"b\":null}] ,\"\\u0041\":\"x\"}\n"))
	if err != nil || len(members) != 2 || string(members["a"]) != `[1, {"b":null}]` || string(members["A"]) != `"x"` {
		t.Errorf("%s, %v", members, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "an array": "[]", "a string": `"{}"`,
		"a byte order mark": "\ufeff{}", "data behind": "{}{}", "a comma behind": "{},",
		"a repeated member":            `{"a":1,"a":1}`,
		"a repeated member, escaped":   `{"a":1,"\u0061":1}`,
		"a repeated member, deep down": `{"a":[{"b":{"c":1,"c":1}}]}`,
		"depth 33":                     strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33),
		"half a surrogate pair":        `{"a":"\ud800"}`, "not UTF-8": "{\"a\":\"\xff\"}",
		"a number beyond float64": `{"a":1e999}`, "an unfinished object": `{"a":1`, "a comment": `{/**/}`,
	} {
		if members, err := ReadObject([]byte(text)); err == nil || members != nil {
			t.Errorf("%s: read as %s", name, members)
		}
	}
}
