// Package audit writes down security events: one line for each, of fixed names
// and fixed fields, and never a secret or a token.
//
//	event.go    every event there is, with the fields of its line
//	trail.go    the lines
//	operator.go who asks for what no request to an issuer did
//	budget.go   how many lines strangers can cause
//
// docs/audit.md says what each event and each field means to an operator.
package audit
