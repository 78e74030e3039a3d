package introspect

import "errors"

// MayAct returns whom the subject allows to act for them (RFC 8693 §4.4), or nil
// when the token says nothing of it. The error, which is ErrInactive, means that
// it does say something and that this cannot be understood: then nobody may.
func (t *Token) MayAct() (*Actor, error) {
	if len(t.Claims) == 0 {
		return nil, nil
	}
	members, err := parseObject(t.Claims)
	if err != nil {
		return nil, &InactiveError{Reason: "the claims of the token are not strict JSON", Cause: err}
	}
	value, present := members["may_act"]
	if !present {
		return nil, nil
	}
	actor, ok := parseActor(value, 1)
	if !ok {
		return nil, &InactiveError{
			Reason: "the may_act of the token does not name an actor",
			Cause:  errors.New("want an object with sub, and with iss and client_id if need be"),
		}
	}
	return actor, nil
}
