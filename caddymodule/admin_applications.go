package caddymodule

import (
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// approvalAnswer is the client that an approval made, with the link at which the
// applicant reads its secret: it is on this answer and nowhere else. A client that
// registered itself has its credentials, and no link.
type approvalAnswer struct {
	clientAnswer
	Reference    string    `json:"reference"`
	SecretURL    string    `json:"secret_url,omitempty"`
	SecretExpiry time.Time `json:"secret_url_expires,omitzero"`
}

func listApplications(r *adminRequest) (any, error) {
	return answerList(r, "applications", r.issuer.ListApplications, itself[*issuer.Application])
}

func showApplication(r *adminRequest) (any, error) {
	return r.issuer.Application(r.Context(), r.args[0])
}

func approveApplication(r *adminRequest) (any, error) {
	var adjust clients.Metadata
	if err := r.decode(&adjust); err != nil {
		return nil, err
	}
	approval, err := r.issuer.ApproveApplication(r.Context(), r.args[0], adjust)
	if err != nil {
		return nil, err
	}
	return approvalAnswer{
		clientAnswer: describeClient(approval.Client, ""), Reference: approval.Application.Reference,
		SecretURL: approval.SecretURL, SecretExpiry: approval.SecretExpiry,
	}, nil
}

func rejectApplication(r *adminRequest) (any, error) {
	body := struct {
		Reason string `json:"reason"`
	}{}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	return r.issuer.RejectApplication(r.Context(), r.args[0], body.Reason)
}
