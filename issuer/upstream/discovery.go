package upstream

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// metadataLifetime is how long metadata is used before it is fetched anew.
	metadataLifetime = time.Hour

	// discoveryPause is the least time between two attempts to fetch it.
	discoveryPause = 10 * time.Second
)

// signingAlgorithms are the algorithms an ID token may be signed with: those
// whose keys only the provider has. Neither none nor HS256 (RFC 8725 §3.1).
var signingAlgorithms = []string{
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.RS256, oidc.RS384, oidc.RS512,
}

// metadata is what is used of the provider's metadata (OpenID Connect Discovery
// §3, RFC 9207 §3).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	SigningAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	AnswersName           bool     `json:"authorization_response_iss_parameter_supported"`

	keys oidc.KeySet
}

// discovery fetches the metadata of one issuer when it is needed, and keeps it.
type discovery struct {
	issuer string
	client *http.Client

	mu      sync.Mutex
	current *metadata     // the last good one, or nil
	fetched time.Time     // when current was fetched
	tried   time.Time     // when the last attempt ended
	failure error         // of the last attempt
	running chan struct{} // closed when the attempt under way ends; nil if there is none
}

func newDiscovery(issuer string, client *http.Client) *discovery {
	return &discovery{issuer: issuer, client: client}
}

// get returns the metadata: at once where there is some, however old, since a
// provider that moves keeps its old endpoints for a while; else it waits for
// the one attempt under way. The error is ErrUnavailable or ErrRefused.
func (d *discovery) get(ctx context.Context) (*metadata, error) {
	d.mu.Lock()
	if d.running == nil && d.isDue(time.Now()) {
		d.running = make(chan struct{})
		// The attempt is everybody's: the person who began it may leave.
		go d.attempt(context.WithoutCancel(ctx))
	}
	current, failure, running := d.current, d.failure, d.running
	d.mu.Unlock()
	if current != nil {
		return current, nil
	}
	if running == nil {
		return nil, failure
	}
	select {
	case <-running:
	case <-ctx.Done():
		return nil, exchangeError("metadata", ctx.Err())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return nil, d.failure
	}
	return d.current, nil
}

// isDue tells whether the metadata should be fetched now.
func (d *discovery) isDue(now time.Time) bool {
	stale := d.current == nil || now.Sub(d.fetched) >= metadataLifetime
	return stale && (d.tried.IsZero() || now.Sub(d.tried) >= discoveryPause)
}

// attempt fetches the metadata once. A failure leaves the last good one.
func (d *discovery) attempt(ctx context.Context) {
	m, err := d.fetch(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried, d.failure = time.Now(), err
	if err == nil {
		d.fetched = d.tried
		d.adopt(m)
	}
	close(d.running)
	d.running = nil
}

// adopt makes m the current metadata. The keys that are known stay known as
// long as their URL does.
func (d *discovery) adopt(m *metadata) {
	if d.current != nil && d.current.JWKSURI == m.JWKSURI {
		m.keys = d.current.keys
	} else {
		m.keys = oidc.NewRemoteKeySet(withClient(context.Background(), d.client), m.JWKSURI)
	}
	d.current = m
}

// fetch asks for the metadata (OpenID Connect Discovery §4.1) and checks it
// (§4.3).
func (d *discovery) fetch(ctx context.Context) (*metadata, error) {
	location := strings.TrimSuffix(d.issuer, "/") + "/.well-known/openid-configuration"
	body, err := getJSON(ctx, d.client, "metadata", location, "")
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, refused("metadata: %s", quotable(err.Error()))
	}
	if err := m.check(d.issuer); err != nil {
		return nil, err
	}
	return &m, nil
}

// check refuses metadata of another issuer (OpenID Connect Discovery §4.3) and
// endpoints that are less protected than the issuer itself.
func (m *metadata) check(issuer string) error {
	if m.Issuer != issuer {
		return refused("metadata: the issuer is %q and must be %q", quotable(m.Issuer), issuer)
	}
	for _, endpoint := range []struct{ name, location string }{
		{"authorization_endpoint", m.AuthorizationEndpoint}, {"token_endpoint", m.TokenEndpoint},
		{"jwks_uri", m.JWKSURI}, {"userinfo_endpoint", m.UserInfoEndpoint},
	} {
		if endpoint.name == "userinfo_endpoint" && endpoint.location == "" {
			continue // optional (§3)
		}
		if err := checkEndpoint(endpoint.location, issuer); err != nil {
			return refused("metadata: %s: %w", endpoint.name, err)
		}
	}
	if m.SigningAlgorithms == nil {
		m.SigningAlgorithms = signingAlgorithms
		return nil
	}
	m.SigningAlgorithms = slices.DeleteFunc(m.SigningAlgorithms, func(a string) bool { return !slices.Contains(signingAlgorithms, a) })
	if len(m.SigningAlgorithms) == 0 {
		return refused("metadata: no algorithm that signs ID tokens is one of %s", strings.Join(signingAlgorithms, ", "))
	}
	return nil
}

// checkEndpoint: http is for issuers that use it, on this machine; one on the
// network cannot point into ours.
func checkEndpoint(location, issuer string) error {
	if err := checkURL(location); err != nil {
		return err
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(location, "https:") {
		return errInsecure
	}
	return nil
}

// getJSON asks for JSON and returns the body of a 200 answer. The bearer token is
// sent if there is one. The error is ErrUnavailable or ErrRefused and begins
// with the name of the endpoint.
func getJSON(ctx context.Context, client *http.Client, endpoint, location, bearer string) ([]byte, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, refused("%s: the URL cannot be parsed", endpoint)
	}
	request := (&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"Accept": {"application/json"}}}).WithContext(ctx)
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, exchangeError(endpoint, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, refused("%s: the answer has the status %d", endpoint, response.StatusCode)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, exchangeError(endpoint, err)
	}
	return body, nil
}
