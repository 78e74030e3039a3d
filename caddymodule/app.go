package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

func init() { caddy.RegisterModule(new(App)) }

// App issues OAuth 2.0 tokens and knows what they are good for. It owns the
// storage, the signing keys and the issuers; the handlers oauth_issuer and
// oauth_protect put them on routes.
//
// Nothing has to be prepared: the storage and the keys make themselves at the
// first start. A reload or a restart loses no token, client, key or revocation.
type App struct {
	// Storage of clients, keys, grants and revocations. Default: bolt.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=oauth.storage inline_key=module"`

	// KeyEncryptionKeys encrypt the private keys of the issuers in the storage:
	// the first one encrypts, all decrypt, so that one can be replaced. Each is a
	// placeholder, such as {file./run/secrets/kek}, for 32 random bytes as base64
	// or hexadecimal digits (`openssl rand -base64 32`). Default: none, and the
	// keys are as safe as the storage.
	KeyEncryptionKeys []string `json:"key_encryption_keys,omitempty"`

	// AdminAPI adds /oauth/ to Caddy's admin endpoint. Default: true.
	AdminAPI *bool `json:"admin_api,omitempty"`

	// Issuers of this server; most have one.
	Issuers []*IssuerConfig `json:"issuers,omitempty"`

	storage    Storage
	encryption keys.Encryption // nil for none
	logger     *slog.Logger
	audit      *slog.Logger
	emit       emitter
	configs    map[string]issuer.Config

	vault *vault
	place string // set while a reference to vault is held

	// protected lists, by issuer, the resources behind gates of this
	// configuration. Gates are provisioned after the app, one by one, and asked
	// for on every token request.
	protected atomic.Pointer[map[string][]string]

	// published is what clients can find out about those resources.
	published published

	opening sync.Mutex
	opened  atomic.Pointer[map[string]*issuer.Issuer]
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oauth", New: func() caddy.Module { return new(App) }}
}

// Provision checks the whole configuration without touching the storage, so
// that "caddy validate" runs beside a running server.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger, a.audit = ctx.Slogger(), auditLogger(ctx)
	a.protected.Store(&map[string][]string{})
	if err := a.loadStorage(ctx); err != nil {
		return err
	}
	var err error
	if a.encryption, err = a.keyEncryption(); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	if err := registerMetrics(ctx); err != nil {
		return fmt.Errorf("oauth: metrics: %w", err)
	}
	events, err := eventsApp(ctx)
	if err != nil {
		return err
	}
	a.emit = newEmitter(ctx, events)
	a.configs = make(map[string]issuer.Config)
	for _, c := range a.Issuers {
		if err := refusePlaceholders(c); err != nil {
			return fmt.Errorf("oauth: issuer %s: %w", c.URL, err)
		}
		config, err := c.issuerConfig(a.logger, func() []string { return (*a.protected.Load())[c.URL] })
		if err != nil {
			return fmt.Errorf("oauth: %w", err)
		}
		if _, twice := a.configs[c.URL]; twice {
			return fmt.Errorf("oauth: issuer %s is configured twice", c.URL)
		}
		config.OnApplication = announceApplications(ctx, events, c.URL)
		config.AuditLogger, config.Observer = a.audit, newIssuerObserver(c.URL, a.emit)
		a.configs[c.URL] = config
	}
	place := a.storage.Place()
	value, _ := vaults.LoadOrStore(place, new(vault))
	a.vault, a.place = value.(*vault), place
	return a.openForReload()
}

// openForReload refuses a new configuration that cannot have its storage before it
// serves anybody. Caddy starts apps in no order: where Start refuses, the http app
// may have begun to answer for a configuration that comes to nothing, for as long
// as a lock or a database is waited for. Without a configuration in force nobody is
// served yet, and "caddy validate", which has none, runs beside a server that holds
// the storage.
func (a *App) openForReload() error {
	if caddy.ActiveContext().Context == nil || len(a.configs) == 0 {
		return nil
	}
	if _, err := a.vault.open(a.storage, a.logger); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	return nil
}

func (a *App) loadStorage(ctx caddy.Context) error {
	if a.StorageRaw == nil {
		a.StorageRaw = json.RawMessage(`{"module":"bolt"}`)
	}
	module, err := ctx.LoadModule(a, "StorageRaw")
	if err != nil {
		return fmt.Errorf("oauth: storage: %w", err)
	}
	a.storage = module.(Storage)
	return nil
}

// Start opens the storage and makes the issuers ready. Requests may come before
// it: whoever needs an issuer first opens it. The first configuration of a process
// waits for a storage that is starting; on a reload the one in force goes on
// instead, and Caddy is held up for nobody.
func (a *App) Start() error {
	open := func() error {
		_, err := a.open(context.Background())
		return err
	}
	if caddy.ActiveContext().Context != nil {
		return open()
	}
	return awaitStorage(a.logger, open)
}

// Stop does nothing: requests in flight outlive it. Cleanup gives back.
func (a *App) Stop() error { return nil }

// Cleanup gives the vault back, if this instance took it. Of a configuration that
// has failed after its issuers were made, the one that stays has the say again.
func (a *App) Cleanup() error {
	if a.place == "" {
		return nil
	}
	place := a.place
	a.place = ""
	var err error
	if opened := a.opened.Load(); opened != nil {
		err = closeIssuers(*opened)
	}
	a.vault.configurations.end(a)
	_, lost := vaults.Delete(place)
	return errors.Join(err, lost)
}

func closeIssuers(all map[string]*issuer.Issuer) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// open returns the issuers, by URL, making them if nobody did before.
func (a *App) open(ctx context.Context) (map[string]*issuer.Issuer, error) {
	if opened := a.opened.Load(); opened != nil {
		return *opened, nil
	}
	a.opening.Lock()
	defer a.opening.Unlock()
	if opened := a.opened.Load(); opened != nil {
		return *opened, nil
	}
	if len(a.configs) == 0 { // gates that only trust issuers elsewhere need no storage
		a.opened.Store(&map[string]*issuer.Issuer{})
		return nil, nil
	}
	state, err := a.vault.open(a.storage, a.logger)
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	if err := a.vault.configurations.begin(ctx, a, state); err != nil {
		return nil, err
	}
	issuers := make(map[string]*issuer.Issuer, len(a.configs))
	for url, config := range a.configs {
		made, err := issuer.New(ctx, config, state)
		if err != nil {
			return nil, fmt.Errorf("oauth: %w", errors.Join(err, closeIssuers(issuers)))
		}
		issuers[url] = made
	}
	a.opened.Store(&issuers)
	return issuers, nil
}

// issuer returns the issuer with that URL, ready to use.
func (a *App) issuer(ctx context.Context, url string) (*issuer.Issuer, error) {
	issuers, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return issuers[url], nil
}

// named returns the URL of the issuer meant by a handler or a command: the one
// it names, or the only one.
func (a *App) named(url string) (string, error) {
	all := make([]string, 0, len(a.Issuers))
	for _, c := range a.Issuers {
		all = append(all, c.URL)
	}
	switch {
	case len(all) == 0:
		return "", errors.New("no issuer is configured; add `issuer <url>` to the oauth block of the global options")
	case url == "" && len(all) == 1:
		return all[0], nil
	case url == "":
		return "", fmt.Errorf("there are several issuers; name one of: %s", strings.Join(all, ", "))
	case !slices.Contains(all, url):
		return "", fmt.Errorf("no issuer %s is configured; there is: %s", url, strings.Join(all, ", "))
	}
	return url, nil
}

// protect makes known that a gate of this configuration protects a resource
// with tokens of an issuer. Gates call it while they are provisioned, which is
// before any request.
func (a *App) protect(issuerURL, resource string) {
	before := *a.protected.Load()
	if slices.Contains(before[issuerURL], resource) {
		return
	}
	after := make(map[string][]string, len(before)+1)
	for url, resources := range before {
		after[url] = resources
	}
	after[issuerURL] = append(slices.Clone(before[issuerURL]), resource)
	a.protected.Store(&after)
}

// oauthApp returns the configured app, or says how to configure it.
func oauthApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured("oauth")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("the oauth app is not configured; add an oauth block with an issuer to the global options")
	}
	if err != nil {
		return nil, err // it is, and says what is wrong with it
	}
	return app.(*App), nil
}

// oauthAppOrDefault returns the app for a handler that can do without issuers of
// this server.
func oauthAppOrDefault(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("oauth")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
