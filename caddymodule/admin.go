package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/introspect"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

func init() { caddy.RegisterModule(new(AdminAPI)) }

const (
	adminBase     = "/oauth/"
	maxAdminBody  = 64 << 10
	secretOverlap = 24 * time.Hour // default of rotate-secret
)

// AdminAPI adds /oauth/ to Caddy's admin endpoint, for "caddy oauth" and for
// programs of the operator. Whoever reaches the admin endpoint may do anything
// here: it is protected as Caddy protects it.
type AdminAPI struct {
	logger *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.oauth", New: func() caddy.Module { return new(AdminAPI) }}
}

// Provision sets up the log.
func (a *AdminAPI) Provision(ctx caddy.Context) error {
	a.logger = ctx.Slogger()
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminBase, Handler: caddy.AdminHandlerFunc(a.serveEndpoint)}}
}

// adminRequest is a request to the admin API, with the issuer it is about.
type adminRequest struct {
	*http.Request
	caddy  caddy.Context  // of the configuration in force
	issuer *issuer.Issuer // nil in an operation on the whole server
	args   []string       // what stood for the wildcards of the pattern
}

// adminOperations are all there are, by method and path below /oauth/.
var adminOperations = []struct {
	method, pattern string
	serve           func(*adminRequest) (any, error)
}{
	{http.MethodGet, "clients", listClients},
	{http.MethodPost, "clients", addClient},
	{http.MethodGet, "clients/*", showClient},
	{http.MethodDelete, "clients/*", removeClient},
	{http.MethodPost, "clients/*/rotate-secret", rotateSecret},
	{http.MethodPost, "clients/*/disable", disableClient},
	{http.MethodPost, "clients/*/enable", enableClient},
	{http.MethodGet, "users", listUsers},
	{http.MethodPost, "users", addUser},
	{http.MethodGet, "users/*", showUser},
	{http.MethodDelete, "users/*", removeUser},
	{http.MethodPost, "users/*/set-password", setPassword},
	{http.MethodPost, "users/*/disable", disableUser},
	{http.MethodPost, "users/*/enable", enableUser},
	{http.MethodGet, "users/*/authorizations", listAuthorizationsOf},
	{http.MethodGet, "applications", listApplications},
	{http.MethodGet, "applications/*", showApplication},
	{http.MethodPost, "applications/*/approve", approveApplication},
	{http.MethodPost, "applications/*/reject", rejectApplication},
	{http.MethodGet, "authorizations", listAuthorizations},
	{http.MethodDelete, "authorizations/*", revokeAuthorization},
	{http.MethodPost, "tokens/revoke", revokeToken},
	{http.MethodGet, "registration-tokens", listRegistrationTokens},
	{http.MethodPost, "registration-tokens", createRegistrationToken},
	{http.MethodDelete, "registration-tokens/*", removeRegistrationToken},
	{http.MethodGet, "keys", listKeys},
	{http.MethodPost, "keys/rotate", rotateKeys},
	{http.MethodPost, "keys/*/revoke", revokeKey},
	{http.MethodPost, "explain", explainRequest},
	{http.MethodGet, "health", serveHealth},
	{http.MethodPost, "probe-tokens", mintProbeTokens},
	{http.MethodGet, "backup", backupStorage},
	{http.MethodGet, "storage/check", checkedStorage},
}

// wholeServer are the operations that are not about one issuer.
var wholeServer = []string{"explain", "health", "backup", "storage/check"}

// disclosing are the operations that change nothing, but hand out secrets.
var disclosing = []string{"backup"}

// serve finds the operation, runs it and writes its answer.
func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), adminBase), "/")
	var allowed []string
	for _, operation := range adminOperations {
		args, ok := matchPattern(operation.pattern, path)
		if !ok {
			continue
		}
		if operation.method != r.Method {
			allowed = append(allowed, operation.method)
			continue
		}
		if err := checkQuery(r, operation.pattern); err != nil {
			return err
		}
		request, err := newAdminRequest(r, args, !slices.Contains(wholeServer, operation.pattern))
		if err != nil {
			return adminError(err)
		}
		answer, err := operation.serve(request)
		if r.Method != http.MethodGet || slices.Contains(disclosing, operation.pattern) {
			a.audit(request, err)
		}
		if err != nil {
			return adminError(err)
		}
		if h, ok := answer.(healthAnswer); ok {
			return h.write(w)
		}
		if d, ok := answer.(download); ok {
			return a.writeDownload(w, d)
		}
		return writeAdminAnswer(w, answer)
	}
	if allowed != nil {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("use " + strings.Join(allowed, " or "))}
	}
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("there is nothing at " + adminBase + path)}
}

// newAdminRequest finds the issuer and checks the form of a mutation.
func newAdminRequest(r *http.Request, args []string, aboutIssuer bool) (*adminRequest, error) {
	if err := checkForm(r); err != nil {
		return nil, err
	}
	// The routes may belong to a configuration that failed to load; the app that
	// serves is the active one.
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no configuration is loaded")}
	}
	app, err := oauthApp(ctx)
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	request := &adminRequest{Request: r, caddy: ctx, args: args}
	request.byOperator()
	if !aboutIssuer {
		return request, nil
	}
	url, err := app.named(r.URL.Query().Get("issuer"))
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	request.issuer, err = app.issuer(r.Context(), url)
	return request, err
}

// matchPattern matches a path with a pattern, part by part; * stands for one
// part, which is returned unescaped.
func matchPattern(pattern, path string) (args []string, ok bool) {
	wanted, given := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(wanted) != len(given) {
		return nil, false
	}
	for n, part := range wanted {
		if part != "*" {
			if part != given[n] {
				return nil, false
			}
			continue
		}
		arg, err := url.PathUnescape(given[n])
		if err != nil || arg == "" {
			return nil, false
		}
		args = append(args, arg)
	}
	return args, true
}

// decode reads the body of a mutation strictly: a misspelt member would
// otherwise be a setting that silently is not made.
func (r *adminRequest) decode(into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxAdminBody))
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil // no body: nothing is said
	case err != nil:
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New("something follows the JSON of the body")}
	}
	return nil
}

// adminError gives an error its status.
func adminError(err error) error {
	var api caddy.APIError
	if errors.As(err, &api) {
		return api
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("not found")}
	case errors.Is(err, clients.ErrExists), errors.Is(err, issuer.ErrApplicationAnswered), errors.Is(err, clients.ErrDeclared), errors.Is(err, clients.ErrWaiting),
		errors.Is(err, users.ErrExists):
		status = http.StatusConflict
	case errors.Is(err, storage.ErrBusy), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrDamaged),
		errors.Is(err, introspect.ErrUnavailable):
		status = http.StatusServiceUnavailable
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

func writeAdminAnswer(w http.ResponseWriter, answer any) error {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(append(encoded, '\n'))
	return err
}

var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
