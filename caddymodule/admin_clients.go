package caddymodule

import (
	"context"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// clientAnswer describes a client with the names of RFC 7591 §3.2.1. The secret
// is there only when it was just made.
type clientAnswer struct {
	clients.Metadata
	Secret    string    `json:"client_secret,omitempty"`
	Created   time.Time `json:"created,omitzero"`
	Declared  bool      `json:"declared,omitempty"`
	SecretsIn int       `json:"secrets_in_force,omitempty"`
}

func describeClient(client *clients.Client, secret string) clientAnswer {
	return clientAnswer{
		Metadata: client.Metadata, Secret: secret, Created: client.Created,
		Declared: client.Declared, SecretsIn: client.SecretsInForce(time.Now()),
	}
}

func listClients(r *adminRequest) (any, error) {
	return answerList(r, "clients", r.issuer.ListClients, func(client *clients.Client) clientAnswer { return describeClient(client, "") })
}

func addClient(r *adminRequest) (any, error) {
	var metadata clients.Metadata
	if err := r.decode(&metadata); err != nil {
		return nil, err
	}
	client, secret, err := r.issuer.AddClient(r.Context(), metadata)
	if err != nil {
		return nil, err
	}
	return describeClient(client, secret), nil
}

func showClient(r *adminRequest) (any, error) {
	client, err := r.issuer.Client(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return describeClient(client, ""), nil
}

func removeClient(r *adminRequest) (any, error) {
	return map[string]string{"removed": r.args[0]}, r.issuer.RemoveClient(r.Context(), r.args[0])
}

func disableClient(r *adminRequest) (any, error) { return switchClient(r, r.issuer.DisableClient) }

func enableClient(r *adminRequest) (any, error) { return switchClient(r, r.issuer.EnableClient) }

func switchClient(r *adminRequest, to func(context.Context, string) (*clients.Client, error)) (any, error) {
	if err := r.decode(new(struct{})); err != nil {
		return nil, err
	}
	client, err := to(r.Context(), r.args[0])
	if err != nil {
		return nil, err
	}
	return describeClient(client, ""), nil
}

func rotateSecret(r *adminRequest) (any, error) {
	body := struct {
		OverlapSeconds *int64 `json:"overlap_seconds"`
	}{}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	overlap := secretOverlap
	if body.OverlapSeconds != nil {
		overlap = time.Duration(*body.OverlapSeconds) * time.Second
	}
	secret, err := r.issuer.RotateSecret(r.Context(), r.args[0], overlap)
	if err != nil {
		return nil, err
	}
	return struct {
		ID       string    `json:"client_id"`
		Secret   string    `json:"client_secret"`
		OldUntil time.Time `json:"old_secrets_until"`
	}{r.args[0], secret, time.Now().Add(overlap).UTC().Truncate(time.Second)}, nil
}
