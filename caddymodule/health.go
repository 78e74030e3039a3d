package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// healthAnswer says whether this server can issue and judge tokens now.
type healthAnswer struct {
	Status string `json:"status"` // ready, or not ready

	// Storage and each of Issuers is "ok", or what is wrong. A server whose gates
	// only trust issuers elsewhere has neither.
	Storage string            `json:"storage,omitempty"`
	Issuers map[string]string `json:"issuers,omitempty"`

	// Error is all that is wrong, in one line.
	Error string `json:"error,omitempty"`
}

const healthOK = "ok"

// serveHealth tells whether the server is ready, for those who send it requests:
//
//	GET /oauth/health
//
// The status is 200, or 503 where something is wrong: the storage does not answer
// or accepts no writes, or an issuer has no key to sign with or cannot know what
// other nodes have revoked.
func serveHealth(r *adminRequest) (any, error) {
	app, err := oauthApp(r.caddy)
	if err != nil {
		return nil, err
	}
	return app.health(r.Context()), nil
}

func (a *App) health(ctx context.Context) healthAnswer {
	answer := healthAnswer{Status: "ready"}
	if len(a.configs) == 0 {
		return answer
	}
	issuers, err := a.open(ctx)
	if err == nil {
		if opened := a.vault.opened.Load(); opened == nil {
			err = errVaultClosed
		} else {
			err = opened.check(ctx)
		}
	}
	answer.Storage = healthWord(err)
	answer.Issuers = make(map[string]string)
	for url, issuer := range issuers {
		answer.Issuers[url] = healthWord(issuer.Health())
	}
	answer.conclude()
	return answer
}

func healthWord(err error) string {
	if err == nil {
		return healthOK
	}
	return strings.ReplaceAll(err.Error(), "\n", ": ")
}

// conclude sums up what was found.
func (h *healthAnswer) conclude() {
	var wrong []string
	if h.Storage != healthOK {
		wrong = append(wrong, "the storage: "+h.Storage)
	}
	for _, url := range slices.Sorted(maps.Keys(h.Issuers)) {
		if word := h.Issuers[url]; word != healthOK {
			wrong = append(wrong, fmt.Sprintf("issuer %s: %s", url, word))
		}
	}
	if len(wrong) > 0 {
		h.Status, h.Error = "not ready", strings.Join(wrong, "; ")
	}
}

// write answers with the status that goes with the answer.
func (h healthAnswer) write(w http.ResponseWriter) error {
	if h.Error == "" {
		return writeAdminAnswer(w, h)
	}
	encoded, err := json.Marshal(h)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, err = w.Write(append(encoded, '\n'))
	return err
}
