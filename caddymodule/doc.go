// Package caddymodule is the OAuth gate as Caddy sees it: an app that owns the
// storage and the issuers, a handler that serves an issuer, a handler that
// protects a route, an admin API and commands. Build it in with xcaddy.
//
// The server, and what outlives one configuration of it:
//
//	app.go, app_caddyfile.go, caddyfile_arguments.go, vault.go, configurations.go
//	issuer_config.go, issuer_caddyfile.go, login_config.go, pages_config.go, trusted_issuer_config.go,
//	registration_config.go, application_config.go, key_encryption.go, placeholders_refused.go
//	storage_bolt.go, storage_postgres.go     guests of oauth.storage; storage_await.go: one that is starting
//	oauth_issuer.go, access_log.go           handler "oauth_issuer"
//
// The way of a request through the gate, handler "oauth_protect":
//
//	protect.go, protect_caddyfile.go   what it does, in order
//	gate.go                            the list of questions, and who asks it
//	policy.go                          which questions: what a token must be good for
//	target.go                          targets that are too ambiguous to decide on
//	source.go, foreign_issuer.go       whose tokens are accepted
//	requirement.go, scope_rule.go, claim_rule.go, path_pattern.go
//	refusal.go, decision.go            401, 403 and 503 as RFC 6750 has them; what is logged and counted
//	identity.go, identity_token.go     what the API is told, and what strangers may not tell it
//	placeholders.go                    what comes after knows of the caller
//	live.go                            responses that go on are cut off in time
//	cors.go, resource_metadata.go      what browsers and clients find out
//	auth_provider.go                   the same questions for Caddy's authentication
//	explain.go                         and for "caddy oauth explain"
//
// What operators see and do:
//
//	admin.go, admin_<things>.go        the admin API: /oauth/ of Caddy's admin endpoint
//	command.go, command_<noun>.go      "caddy oauth"; offline.go on a stopped server
//	probe/                             "caddy oauth probe": attacks on a live route, in a package without Caddy
//	storage_spec.go, storage_stopped.go, storage_owner_*.go
//	audit.go, metrics.go, metrics_<what>.go, trace.go, health.go, health_<what>.go
//
// Everything that is OAuth and not Caddy is in packages issuer and introspect.
package caddymodule
