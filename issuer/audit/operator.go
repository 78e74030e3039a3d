package audit

import "context"

// Operator is who asked for something at an operator's interface.
type Operator struct {
	Via       string // the interface: "admin"
	RemoteIP  string // where they asked from; empty at a socket
	RequestID string // empty if requests have none there
}

type operatorKey struct{}

// ByOperator returns a context for what an operator asks for: Trail's
// RecordOperation says in its line who it was.
func ByOperator(ctx context.Context, by Operator) context.Context {
	return context.WithValue(ctx, operatorKey{}, by)
}

// operatorOf is the zero Operator where time is at work, not a person.
func operatorOf(ctx context.Context) Operator {
	by, _ := ctx.Value(operatorKey{}).(Operator)
	return by
}
