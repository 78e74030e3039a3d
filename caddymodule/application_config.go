package caddymodule

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
)

// applicationRequested is the event that is emitted when somebody has requested
// an application. Its data are issuer, reference and name; the name is a
// stranger's text, so a handler must not run it as a command.
const applicationRequested = "oauth_application_requested"

// eventsApp is Caddy's, which is there without being configured.
func eventsApp(ctx caddy.Context) (*caddyevents.App, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("oauth: the events app: %w", err)
	}
	return app.(*caddyevents.App), nil
}

// announceApplications makes events of the requests that an issuer receives.
func announceApplications(ctx caddy.Context, events *caddyevents.App, issuerURL string) func(context.Context, issuer.Application) {
	return func(_ context.Context, application issuer.Application) {
		events.Emit(ctx, applicationRequested, map[string]any{
			"issuer": issuerURL, "reference": application.Reference, "name": application.Name,
		})
	}
}

// unmarshalEndpoint reads
//
//	endpoint <name> <path>...
func (c *IssuerConfig) unmarshalEndpoint(d *caddyfile.Dispenser) error {
	arguments := d.RemainingArgs()
	if len(arguments) < 2 {
		return d.ArgErr()
	}
	if c.Endpoints == nil {
		c.Endpoints = make(map[string][]string)
	}
	name := arguments[0]
	c.Endpoints[name] = append(c.Endpoints[name], arguments[1:]...)
	return nil
}

// onUnlessOff is the value of an option whose default is on.
func onUnlessOff(value *bool) bool { return value == nil || *value }
