// Package caddymodule is the OAuth gate as Caddy sees it: an app that owns the
// storage and the issuers, a handler that serves an issuer, a handler that
// protects a route, an admin API and commands. Build it in with xcaddy.
//
//	app.go            app "oauth": storage and issuers, their life over reloads
//	app_caddyfile.go  its Caddyfile, the global option "oauth"
//	issuer_config.go  one issuer of it
//	vault.go          what is opened once per process
//	storage_bolt.go   guest "oauth.storage.bolt"
//	oauth_issuer.go   handler "oauth_issuer": the issuer's endpoints
//	protect.go        handler "oauth_protect": the way of a request through the gate
//	target.go         which request targets are too ambiguous to decide on
//	requirement.go    what a token must be good for
//	identity.go       what the backend is told, and what strangers may not tell it
//	refusal.go        401, 403 and 503 as RFC 6750 has them
//	admin.go          admin API
//	audit.go          where the audit trail goes
//	metrics.go ...    what is counted, and what is looked at
//	trace.go          what spans say
//	health.go ...     whether the server is ready, and events when it is not
//	command.go ...    caddy oauth
//
// Everything that is OAuth and not Caddy is in packages issuer and introspect.
package caddymodule
