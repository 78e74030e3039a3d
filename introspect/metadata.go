package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Metadata is what an issuer publishes about itself (RFC 8414 §2, OpenID Connect
// Discovery §3), as far as a relying party or a resource needs it. An endpoint
// that is not published is the empty string; one that is has been checked to be
// an https URL, or an http URL of this machine where the issuer is one too.
type Metadata struct {
	Issuer                string
	JWKSURI               string
	AuthorizationEndpoint string
	TokenEndpoint         string
	UserinfoEndpoint      string
	IntrospectionEndpoint string
	EndSessionEndpoint    string
}

// FetchMetadata gets the metadata of an issuer from the place of RFC 8414 §3.1
// and, where that has none, from that of OpenID Connect Discovery §4.
// It takes five seconds at most, follows no redirect, and refuses metadata whose
// issuer is not the given one, byte for byte (RFC 8414 §3.3). With a nil
// transport it connects directly, whatever proxy the environment names.
func FetchMetadata(ctx context.Context, issuer string, transport http.RoundTripper) (*Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return fetchMetadata(ctx, newClient(transport), issuer)
}

func fetchMetadata(ctx context.Context, client *http.Client, issuer string) (*Metadata, error) {
	places, err := metadataURLs(issuer)
	if err != nil {
		return nil, fmt.Errorf("metadata of the issuer: %w", err)
	}
	for _, place := range places {
		document, fault := fetchDocument(ctx, client, place)
		if fault == nil {
			return parseMetadata(document, issuer)
		}
		err = errors.Join(err, fault)
	}
	return nil, fmt.Errorf("metadata of the issuer: %w", err)
}

// metadataURLs returns where metadata may be. RFC 8414 inserts its path before
// that of the issuer, OpenID Connect appends.
func metadataURLs(issuer string) ([]string, error) {
	if err := checkURL(issuer); err != nil {
		return nil, err
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, errors.New("an issuer has no query")
	}
	origin := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, nil
}

func parseMetadata(document []byte, issuer string) (*Metadata, error) {
	members, err := parseObject(document)
	if err != nil {
		return nil, fmt.Errorf("metadata of the issuer: %w", err)
	}
	if stated, ok := members["issuer"].str(); !ok || stated != issuer {
		return nil, errors.New("metadata of the issuer: it names another issuer")
	}
	metadata := &Metadata{Issuer: issuer}
	for name, field := range map[string]*string{
		"jwks_uri":               &metadata.JWKSURI,
		"authorization_endpoint": &metadata.AuthorizationEndpoint,
		"token_endpoint":         &metadata.TokenEndpoint,
		"userinfo_endpoint":      &metadata.UserinfoEndpoint,
		"introspection_endpoint": &metadata.IntrospectionEndpoint,
		"end_session_endpoint":   &metadata.EndSessionEndpoint,
	} {
		value, present := members[name]
		if !present {
			continue
		}
		location, ok := value.str()
		if !ok || checkURL(location) != nil {
			return nil, fmt.Errorf("metadata of the issuer: %s is not a URL to be trusted", name)
		}
		// An issuer elsewhere has no business on this machine.
		if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(location, "https:") {
			return nil, fmt.Errorf("metadata of the issuer: %s is not an https URL", name)
		}
		*field = location
	}
	return metadata, nil
}
