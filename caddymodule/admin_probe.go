package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule/probe"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// mintProbeTokens makes the tokens with which "caddy oauth probe" attacks a
// route:
//
//	POST /oauth/probe-tokens {"client_id": "...", "url": "..."}
//
// The URL must have a gate that asks for a token, and the client's token must be
// good for it: a probe learns nothing where everything passes, or nothing does.
func mintProbeTokens(r *adminRequest) (any, error) {
	wanted := struct {
		ClientID string `json:"client_id"`
		URL      string `json:"url"`
	}{}
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	if wanted.ClientID == "" {
		return nil, errors.New("client_id is missing")
	}
	closed, err := explainedToProbe(r.caddy, wanted.URL, "")
	if err != nil {
		return nil, err
	}
	tokens, err := r.issuer.MintProbeTokens(r.Context(), wanted.ClientID, closed.Resource)
	if err != nil {
		return nil, probeTokensError(err, wanted.ClientID, closed.Resource)
	}
	open, err := explainedToProbe(r.caddy, wanted.URL, tokens.Good)
	if err != nil {
		return nil, err
	}
	if !open.Passes {
		return nil, fmt.Errorf("a token of client %s does not pass the gate of %s: %s (decided by: %s)",
			wanted.ClientID, wanted.URL, open.Reason, open.Decided)
	}
	return probe.Given{
		URL: wanted.URL, Resource: closed.Resource, NeededScope: closed.Scope, ClientID: wanted.ClientID,
		ExpiresIn: int64(issuer.ProbeTokenLifetime.Seconds()), Tokens: tokens,
	}, nil
}

// explainedToProbe asks what the gate of a URL decides, and returns an error
// where no gate would refuse anything.
func explainedToProbe(ctx caddy.Context, url, token string) (*explanation, error) {
	x := &explanation{Method: http.MethodGet, URL: url}
	if err := explain(ctx, x, token, nil); err != nil {
		return nil, err
	}
	switch {
	case !x.Reached:
		return nil, fmt.Errorf("no oauth_protect is on the way of %s; the routes answer it with %d", url, x.Answered)
	case x.Reported:
		return nil, fmt.Errorf("the gate of %s is report_only: it refuses nothing", url)
	case x.Open == "public":
		return nil, fmt.Errorf("%s is a public path of its gate and needs no token; probe one that does", url)
	case x.Open != "":
		return nil, fmt.Errorf("the gate of %s is optional: it lets requests without a token pass", url)
	}
	return x, nil
}

func probeTokensError(err error, client, resource string) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no client %q", client)}
	case errors.Is(err, issuer.ErrProbeClientDisabled), errors.Is(err, issuer.ErrProbeResource):
		return fmt.Errorf("client %s, resource %s: %w", client, resource, err)
	}
	return err
}
