// Package users keeps the people whom an issuer knows, and finds out who they
// are: by a password that is kept here, or by an identity that another provider
// vouches for.
//
//	user.go              the record: who a person is (OpenID Connect Core §5.1)
//	users.go             adding, finding, changing and removing people
//	username.go          when two names are the same name (RFC 8265 §3.3)
//	authenticate.go      signing in with a password
//	password.go          argon2id and its text form (RFC 9106, PHC string format)
//	password_policy.go   which passwords are accepted (NIST SP 800-63B §5.1.1.2)
//	throttle.go          how often a password may be tried (NIST SP 800-63B §5.2.2)
//	budget.go, table.go  what the throttle counts with, and in how much memory
//	decoy.go             what is done for a name that nobody has
//	identity.go          people whom another provider vouches for
//
// A person's subject begins with "u:". A client id has no colon, so a client
// that acts for itself never passes for a person (RFC 9068 §5).
package users
