package signin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/seal"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/upstream"
)

// Config is what the pages need of an issuer.
type Config struct {
	// URL is the issuer identifier.
	URL string
	// BasePath is the path of URL, "" at the root of a host.
	BasePath string

	AccessTokenLifetime      time.Duration
	RefreshTokenLifetime     time.Duration
	RefreshTokenIdleLifetime time.Duration
	SessionLifetime          time.Duration

	LocalLogin   bool
	CaddyUser    func(*http.Request) string // nil: no handler of Caddy's signs people in
	Upstreams    []*upstream.Provider
	Applications bool // operators find them from their account

	ScopeTexts map[string]string // what scopes mean to people, by name
	Resources  *clients.Resources

	// Client returns the client with that id. The error is storage.ErrNotFound if
	// there is none.
	Client func(ctx context.Context, id string) (*clients.Client, error)

	// HintedSubject reads an ID token of this issuer, whether or not it has expired:
	// whom it is about, and for which client.
	HintedSubject func(hint string) (subject, clientID string, err error)

	Devices *device.Pending // what devices ask for
	Guesses *limit.Limiter  // of user codes

	Sealer   *seal.Sealer
	Pages    *pages.Pages
	Trail    *audit.Trail
	Logger   *slog.Logger
	ClientIP func(*http.Request) string

	// LoginFailed is called for every sign-in that failed, with a reason of few.
	LoginFailed func(reason string)
}

// Handler serves the pages on which people sign in, agree to what clients ask for,
// and look after their accounts. Its Serve methods are for Show.
type Handler struct {
	config Config
	people *People
}

// New makes the pages of an issuer, for its people.
func New(config Config, people *People) *Handler {
	return &Handler{config: config, people: people}
}

// secure tells whether the issuer is on https.
func (h *Handler) secure() bool { return strings.HasPrefix(h.config.URL, "https:") }

// path is the path of one of our own pages.
func (h *Handler) path(endpoint string) string { return h.config.BasePath + endpoint }

// ApplicationPath is the path of an operator's page: of a request, or without
// one of the list.
func (h *Handler) ApplicationPath(reference string) string {
	if reference == "" {
		return h.path("/applications")
	}
	return h.path("/applications/") + reference
}
