// Package device is what devices without a browser ask for, and what people decide
// about it (RFC 8628): the parts that the device's endpoints and the person's page
// share.
//
//	request.go    what is asked for; sealed, it is the device code   §3.1, §3.2
//	user_code.go  the code that people type                          §6.1
//	pending.go    what waits for a person, and the pace of polls     §3.5
//	decision.go   what the person decided
package device
