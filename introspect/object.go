package introspect

import "encoding/json"

// ReadObject reads data, which must be exactly one JSON object, and returns its
// members by name, as the text they have.
//
// It refuses what two readers of one text could understand differently: a
// repeated member, at any depth; a string that is not valid Unicode; a number
// that a float64 cannot hold; nesting deeper than 32; a byte order mark, or
// anything else, before or after the object (RFC 7493 §2). The error says which
// and holds nothing of data. Names keep their case: "Scope" is not "scope". A
// member's value is well-formed, so decoding it can fail for its type alone.
func ReadObject(data []byte) (map[string]json.RawMessage, error) {
	object, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	members := make(map[string]json.RawMessage, len(object))
	for name, value := range object {
		members[name] = json.RawMessage(value)
	}
	return members, nil
}
