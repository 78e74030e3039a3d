package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// Events that programs may want to react to. They have no secrets in them.
const (
	// refreshTokenReused: a refresh token was used twice, so one of two who have
	// it has stolen it. Data: issuer, client_id, authorization_id.
	refreshTokenReused = "oauth_refresh_token_reused"

	// keyRotated: another key signs now. Data: issuer, kid.
	keyRotated = "oauth_key_rotated"

	// storageUnhealthy: the storage no longer answers, or no longer accepts
	// writes. Data: error.
	storageUnhealthy = "oauth_storage_unhealthy"

	// storageHealthy: it does again.
	storageHealthy = "oauth_storage_healthy"
)

// emitter emits an event of Caddy's. It returns when its handlers have.
type emitter func(name string, data map[string]any)

func newEmitter(ctx caddy.Context, events *caddyevents.App) emitter {
	return func(name string, data map[string]any) { events.Emit(ctx, name, data) }
}
