package introspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever object is accepted, encoding/json reads it as the same value, and no
// member of it is repeated. What encoding/json would read too is refused for one
// of the reasons that strictjson.go names, and the reason is true.
func FuzzStrictJSON(f *testing.F) {
	for _, object := range []string{
		`{}`, ` {"a":1,"b":[true,false,null,"x",{"c":-1.5e+3}]} `, `{"a":{"b":{"c":[[[]]]}}}`, fuzzClaims,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":[{"b":1,"b":1}]}`, `{"A":1,"a":2}`,
		`{"a":"\ud83d\ude00\"\\\/\b\f\n\r\t"}`, `{"a":"\ud800"}`, `{"a":"\ude00\ud83d"}`, `{"a":"\ud800\u0041"}`, `{"a":"\u+123"}`,
		"{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xc0\x80\":1}", "{\"a\":\"\u2028\ufffd\x7f\"}", "{\"a\":\"\x1f\"}",
		`{"a":1e308}`, `{"a":1e309}`, `{"a":1e-400}`, `{"a":-0}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":0x10}`, `{"a":1_0}`,
		`{"a":9007199254740993}`, `{"a":` + strings.Repeat("1", 65) + `}`, `{"a":0.` + strings.Repeat("0", 62) + `1}`,
		`{"a":Infinity}`, `{"a":NaN}`, `{"a":tru}`, `{"a":truex}`, `{"a":1,}`, `{,}`, `{"a" "b"}`, `{"a":}`, `{"a":[1,]}`, `{"a":[,]}`,
		`{"a":1}x`, `{"a":1}{}`, "\ufeff{}", `{}` + "\x00", "{\"a\":1}\v", "{\u00a0}", `/**/{}`, `[]`, `"x"`, `null`, ``, `{`, `{"a`, `{"a":"\`, `{"a":"\u12`,
		strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat(`}`, 32), strings.Repeat(`{"a":`, 33) + `1` + strings.Repeat(`}`, 33),
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := ReadObject(data)
		var standard any
		notJSON := json.Unmarshal(data, &standard)
		if err != nil {
			wantTrueReason(t, data, err, notJSON)
			return
		}
		if notJSON != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", notJSON)
		}
		object := make(map[string]any, len(members))
		for name, value := range members {
			object[name] = plain(t, jsonValue(value))
		}
		if !reflect.DeepEqual(standard, any(object)) {
			t.Fatalf("read %#v, encoding/json reads %#v", object, standard)
		}
		if name, err := repeatedMember(data); err != nil || name != "" {
			t.Fatalf("accepted the repeated member %q, %v", name, err)
		}
		if !utf8.Valid(data) {
			t.Fatal("accepted what is not UTF-8")
		}
	})
}

// plain makes of a checked value what encoding/json makes of it.
func plain(t *testing.T, value jsonValue) any {
	t.Helper()
	if text, ok := value.str(); ok {
		return text
	}
	if number, ok := value.number(); ok {
		return number
	}
	if elements, ok := value.array(); ok {
		array := []any{}
		for _, element := range elements {
			array = append(array, plain(t, element))
		}
		return array
	}
	if members, ok := value.object(); ok {
		object := map[string]any{}
		for name, member := range members {
			object[name] = plain(t, member)
		}
		return object
	}
	switch string(value) {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	t.Fatalf("a checked value is of no type: %q", value)
	return nil
}

// wantTrueReason fails if an object is refused that has no fault, or another one
// than err says.
func wantTrueReason(t *testing.T, data []byte, err, notJSON error) {
	t.Helper()
	name, walk := repeatedMember(data)
	escapes := bytes.Contains(bytes.ToLower(data), []byte(`\ud`))
	isTrue := false
	switch {
	case errors.Is(err, errJSONSyntax), errors.Is(err, errJSONTrailing):
		isTrue = notJSON != nil
	case errors.Is(err, errJSONObject):
		isTrue = !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
	case errors.Is(err, errJSONDuplicate):
		isTrue = name != "" || walk != nil
	case errors.Is(err, errJSONText):
		isTrue = !utf8.Valid(data) || escapes
	case errors.Is(err, errJSONNumber):
		isTrue = notJSON != nil || longestNumber(data) > maxNumberLength
	case errors.Is(err, errJSONDepth):
		isTrue = bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) > maxJSONDepth
	}
	if !isTrue {
		t.Fatalf("refused for %q; encoding/json: %v, repeated: %q", err, notJSON, name)
	}
}

// repeatedMember walks the tokens of a JSON text and returns the name of a member
// that an object has twice. The error says that the walk did not come to an end.
func repeatedMember(data []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var open []map[string]bool // names so far; nil for an array
	atName := false
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if name, ok := token.(string); ok && atName {
			if names := open[len(open)-1]; names[name] {
				return fmt.Sprintf("%q", name), nil
			} else {
				names[name] = true
			}
			atName = false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		atName = len(open) > 0 && open[len(open)-1] != nil
	}
}

// longestNumber returns the length of the longest run of bytes that numbers are
// made of.
func longestNumber(data []byte) int {
	longest := 0
	for _, run := range bytes.FieldsFunc(data, func(r rune) bool { return !strings.ContainsRune("+-.0123456789eE", r) }) {
		longest = max(longest, len(run))
	}
	return longest
}
