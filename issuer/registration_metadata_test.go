package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// redirectTo is metadata with these redirect URIs.
func redirectTo(uris ...string) string {
	quoted := make([]string, len(uris))
	for n, uri := range uris {
		quoted[n] = fmt.Sprintf("%q", uri)
	}
	return `{"redirect_uris":[` + strings.Join(quoted, ",") + `]}`
}

func with(member string) string { return `{"redirect_uris":["https://app.test/cb"],` + member + `}` }

// Each case is what RFC 7591 §3.2.2 has an error for.
func TestRegistrationRefusesMetadata(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	refusals := map[string]struct {
		body string
		code oauth.ErrorCode
	}{
		"no redirect URI":                     {`{}`, oauth.InvalidRedirectURI},
		"an empty list of redirect URIs":      {redirectTo(), oauth.InvalidRedirectURI},
		"a null list of redirect URIs":        {`{"redirect_uris":null}`, oauth.InvalidRedirectURI},
		"a string in place of the list":       {`{"redirect_uris":"https://a.test/cb"}`, oauth.InvalidRedirectURI},
		"an object in place of the list":      {`{"redirect_uris":{"0":"https://a.test/cb"}}`, oauth.InvalidRedirectURI},
		"a number in the list":                {`{"redirect_uris":[1]}`, oauth.InvalidRedirectURI},
		"a null in the list":                  {`{"redirect_uris":["https://a.test/cb",null]}`, oauth.InvalidRedirectURI},
		"a name of another case":              {`{"Redirect_URIs":["https://a.test/cb"]}`, oauth.InvalidRedirectURI},
		"the same redirect URI 1,000 times":   {redirectTo(strings.Split(strings.Repeat("https://app.test/cb ", 1000), " ")[:1000]...), oauth.InvalidRedirectURI},
		"the same redirect URI twice":         {redirectTo("https://app.test/cb", "https://app.test/cb"), oauth.InvalidRedirectURI},
		"21 redirect URIs":                    {redirectTo(numbered(21)...), oauth.InvalidRedirectURI},
		"a redirect URI of 4 KiB":             {redirectTo("https://app.test/" + strings.Repeat("a", 4<<10)), oauth.InvalidRedirectURI},
		"a bad redirect URI after a good one": {redirectTo("https://app.test/cb", "http://app.test/cb"), oauth.InvalidRedirectURI},

		"software_statement": {with(`"software_statement":"eyJhbGciOiJub25lIn0.e30."`), oauth.InvalidSoftwareStatement},
		"jwks":               {with(`"jwks":{"keys":[{"kty":"oct","k":"AA"}]}`), oauth.InvalidClientMetadata},

		"grant client_credentials":             {with(`"grant_types":["client_credentials"]`), oauth.InvalidClientMetadata},
		"grant token-exchange":                 {with(`"grant_types":["urn:ietf:params:oauth:grant-type:token-exchange"]`), oauth.InvalidClientMetadata},
		"a good grant and a bad one":           {with(`"grant_types":["authorization_code","client_credentials"]`), oauth.InvalidClientMetadata},
		"grant implicit":                       {with(`"grant_types":["implicit"]`), oauth.InvalidClientMetadata},
		"grant password":                       {with(`"grant_types":["password"]`), oauth.InvalidClientMetadata},
		"refresh_token alone":                  {with(`"grant_types":["refresh_token"]`), oauth.InvalidClientMetadata},
		"grant types that are a string":        {with(`"grant_types":"authorization_code"`), oauth.InvalidClientMetadata},
		"none with client_credentials":         {with(`"token_endpoint_auth_method":"none","grant_types":["client_credentials"]`), oauth.InvalidClientMetadata},
		"response type token":                  {with(`"response_types":["token"]`), oauth.InvalidClientMetadata},
		"response type code id_token":          {with(`"response_types":["code","code id_token"]`), oauth.InvalidClientMetadata},
		"code without its grant (section 2.1)": {with(`"grant_types":["` + oauth.GrantDeviceCode + `"],"response_types":["code"]`), oauth.InvalidClientMetadata},
		"private_key_jwt":                      {with(`"token_endpoint_auth_method":"private_key_jwt"`), oauth.InvalidClientMetadata},
		"an auth method that is a list":        {with(`"token_endpoint_auth_method":["none"]`), oauth.InvalidClientMetadata},
		"a scope beyond those allowed":         {with(`"scope":"openid read"`), oauth.InvalidClientMetadata},
		"a scope with a forbidden character":   {with(`"scope":"openid\\x"`), oauth.InvalidClientMetadata},
		"a scope that is a list":               {with(`"scope":["openid"]`), oauth.InvalidClientMetadata},
		"a name with a line break":             {with(`"client_name":"a\nb"`), oauth.InvalidClientMetadata},
		"a name with NUL":                      {with(`"client_name":"a\u0000b"`), oauth.InvalidClientMetadata},
		"a name that turns text around":        {with(`"client_name":"moc.\u202eelpmaxe"`), oauth.InvalidClientMetadata},
		"a name that hides text":               {with(`"client_name":"a\u200bb"`), oauth.InvalidClientMetadata},
		"a name of 101 characters":             {with(`"client_name":"` + strings.Repeat("é", 101) + `"`), oauth.InvalidClientMetadata},
		"a name that is a number":              {with(`"client_name":1`), oauth.InvalidClientMetadata},

		"repeated redirect_uris":     {`{"redirect_uris":["https://app.test/cb"],"redirect_uris":["https://evil.test/cb"]}`, oauth.InvalidClientMetadata},
		"repeated, once escaped":     {`{"redirect_uris":["https://app.test/cb"],"redirect_\u0075ris":["https://evil.test/cb"]}`, oauth.InvalidClientMetadata},
		"repeated in a deep object":  {with(`"x":{"y":[{"z":1,"z":2}]}`), oauth.InvalidClientMetadata},
		"depth 10,000":               {with(`"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)), oauth.InvalidClientMetadata},
		"data after the object":      {goodMetadata + goodMetadata, oauth.InvalidClientMetadata},
		"a byte order mark":          {"\ufeff" + goodMetadata, oauth.InvalidClientMetadata},
		"UTF-16":                     {"{\x00\"\x00", oauth.InvalidClientMetadata},
		"a string that is not UTF-8": {with("\"client_name\":\"\xff\""), oauth.InvalidClientMetadata},
		"half a surrogate pair":      {with(`"client_name":"\ud800"`), oauth.InvalidClientMetadata},
		"a number without end":       {with(`"x":` + strings.Repeat("9", 500)), oauth.InvalidClientMetadata},
		"an array":                   {`[` + goodMetadata + `]`, oauth.InvalidClientMetadata},
		"null":                       {`null`, oauth.InvalidClientMetadata},
		"nothing":                    {``, oauth.InvalidClientMetadata},
		"an object that breaks off":  {`{"redirect_uris":["https://app.test/cb"]`, oauth.InvalidClientMetadata},
		"a form":                     {`redirect_uris=https%3A%2F%2Fapp.test%2Fcb`, oauth.InvalidClientMetadata},
	}
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) { expect(t, f.postMetadata(c.body), 400, c.code) })
	}
	for _, uri := range []string{
		"JAVASCRIPT:alert(1)", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "about:blank", "blob:https://app.test/x",
		"*", "https://*.evil.test/cb", "https://app.test/*", "/cb", "//app.test/cb", "app.test/cb", "", " ", "https:", "https:///cb",
		"https://user:pw@app.test/cb", "https://user@app.test/cb", "https://app.test/cb#", "https://app.test/cb#x",
		"https://app.test/%0d%0a", "https://app.test/%00", "https://app.test/cb?a=%0a", "com.example.app:/%0d", "com.example.app:x%0d",
		"https://app.test/cb?a=%zz", "https://app.test/\r\nLocation:x", "https://app.test/ cb", `https://app.test\@evil.test/cb`,
		"http://app.test/cb", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://0.0.0.0/cb", "http://localhost.evil.test/cb",
		fixtureURL + "/authorize", "https://AUTH.test/cb", "https://auth.test:443/cb", "https://auth.test./cb", fixtureURL,
		"http://localhost:2019/load", "http://127.0.0.1:2019/", "http://[::1]:2019/config/", "http://LOCALHOST:2019/x", "https://localhost:2019/load",
		"com.example.app://host/cb", "myapp:/cb",
	} {
		t.Run("redirect to "+uri, func(t *testing.T) {
			expect(t, f.postMetadata(redirectTo(uri)), 400, oauth.InvalidRedirectURI)
			// After signing out a browser is sent as well.
			uris, err := json.Marshal([]string{"https://app.test/bye", uri})
			must(t, err)
			expect(t, f.postMetadata(with(`"post_logout_redirect_uris":`+string(uris))), 400, oauth.InvalidClientMetadata)
		})
	}
	for _, member := range []string{"jwks_uri", "request_uris", "backchannel_logout_uri", "sector_identifier_uri"} {
		for _, uri := range []string{
			"http://169.254.169.254/latest/meta-data/", "http://localhost:2019/load", "http://[::1]:2019/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/",
			"http://017700000001/", "http://10.0.0.1/", "http://metadata.google.internal/", "https://rebind.test/", "https://evil.test/redirect-to-127.0.0.1",
			"file:///etc/passwd", "ftp://evil.test/", "https://evil.test/slow",
		} {
			t.Run(member+" "+uri, func(t *testing.T) {
				expect(t, f.postMetadata(with(fmt.Sprintf("%q:%q", member, uri))), 400, oauth.InvalidClientMetadata)
				expect(t, f.postMetadata(with(fmt.Sprintf("%q:[%q]", member, uri))), 400, oauth.InvalidClientMetadata)
			})
		}
	}
	if clients, err := f.Clients(t.Context()); err != nil || len(clients) != len(f.config.Clients) {
		t.Errorf("a refused client was registered: %d clients, %v", len(clients), err)
	}
}

func numbered(n int) (uris []string) {
	for i := range n {
		uris = append(uris, fmt.Sprintf("https://app.test/%d", i))
	}
	return uris
}

// RFC 7591 §2: what is accepted, and what the client then has.
func TestRegistrationAcceptsMetadata(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	for name, c := range map[string]struct{ body, want string }{
		"the defaults":             {goodMetadata, "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"empty lists are defaults": {with(`"grant_types":[],"response_types":[],"scope":"","token_endpoint_auth_method":"","client_name":""`), "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"null is left out":         {with(`"grant_types":null,"scope":null,"client_name":null,"jwks_uri":null,"software_statement":null`), "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"public":                   {with(`"token_endpoint_auth_method":"none"`), "none [authorization_code] [code] openid profile email offline_access"},
		"post":                     {with(`"token_endpoint_auth_method":"client_secret_post"`), "client_secret_post [authorization_code] [code] openid profile email offline_access"},
		"some scopes":              {with(`"scope":"email openid"`), "client_secret_basic [authorization_code] [code] email openid"},
		"with refresh tokens":      {with(`"grant_types":["authorization_code","refresh_token","refresh_token"]`), "client_secret_basic [authorization_code refresh_token] [code] openid profile email offline_access"},
		"a device":                 {`{"grant_types":["` + oauth.GrantDeviceCode + `"],"token_endpoint_auth_method":"none","scope":"openid"}`, "none [" + oauth.GrantDeviceCode + "] [] openid"},
		"20 redirect URIs":         {redirectTo(numbered(20)...), "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"a native app":             {redirectTo("http://127.0.0.1/cb", "http://[::1]:2018/cb", "com.example.app:/cb", "http://localhost:20190/"), "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"the issuer's neighbours":  {redirectTo("https://www.auth.test/cb", "https://auth.test:8443/cb", "https://auth.test.example/"), "client_secret_basic [authorization_code] [code] openid profile email offline_access"},
		"what it does not know": {with(`"contacts":["a@b.test"],"logo_uri":"http://127.0.0.1:2019/","client_uri":"javascript:1","x":[{}],"application_type":"web"`),
			"client_secret_basic [authorization_code] [code] openid profile email offline_access"},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := f.selfRegistered(c.body)
			if got := fmt.Sprint(c2.AuthMethod, " ", c2.GrantTypes, " ", c2.ResponseTypes, " ", c2.Scope); got != c.want {
				t.Errorf("registered with %s, want %s", got, c.want)
			}
			if public := c2.AuthMethod == "none"; public != (c2.Secret == "") || public != (c2.SecretExpiresAt == nil) {
				t.Errorf("%s with the secret %v", c2.AuthMethod, c2.Secret != "")
			}
		})
	}
	// OpenID Connect Dynamic Client Registration §2: left out of the answer, the
	// algorithm is RS256. What the client asked for is replaced (RFC 7591 §3.2.1).
	for body, want := range map[string]string{
		goodMetadata: "ES256", with(`"id_token_signed_response_alg":"RS256"`): "ES256", with(`"id_token_signed_response_alg":"none"`): "ES256", with(`"scope":"email"`): "",
	} {
		if c := f.selfRegistered(body); c.Algorithm != want {
			t.Errorf("%s: id_token_signed_response_alg %q, want %q", body, c.Algorithm, want)
		}
	}
	if c := f.selfRegistered(with(`"client_name":" Café 東京 "`)); c.Name != "Café 東京" {
		t.Errorf("name %q", c.Name)
	}
}

// The server decides who the client is and what it may (RFC 7591 §3.2.1).
func TestRegistrationIgnoresPrivileges(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	user := f.person(fixtureProfile)
	c := f.selfRegistered(with(`"skip_consent":true,"trusted":true,"is_admin":true,"client_id":"` + user.ID + `","client_secret":"x","enabled":true,` +
		`"pkce_optional":true,"refresh_token_always":true,"impersonation":true,"short_code_verifier":true,"resources":["` + fixtureFiles + `"],` +
		`"client_type":"public","secrets":[],"registration":{"token":"sha256:00"},"registration_access_token":"x","client_id_issued_at":1`))
	client, err := f.Client(t.Context(), c.ID)
	if err != nil || c.ID == user.ID || c.Secret == "x" || c.AccessToken == "x" || c.IssuedAt == 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if client.PKCEOptional || client.RefreshTokenAlways || client.Impersonation || client.ShortCodeVerifier || len(client.Resources) > 0 || client.Type != clients.Confidential {
		t.Errorf("a client gave itself %+v", client.Metadata)
	}
}

// RFC 7591 §3.1: application/json, of a bounded size.
func TestRegistrationBody(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationOpen))
	mediaType := func(text string) fixtureRequest {
		return func(r *http.Request) { r.Header.Set("Content-Type", text) }
	}
	for _, text := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jwt", "application/json; charset=latin1", ""} {
		expect(t, f.postMetadata(goodMetadata, mediaType(text)), 415, oauth.InvalidRequest)
	}
	f.selfRegistered(goodMetadata, mediaType("Application/JSON; charset=UTF-8"))
	expect(t, f.postMetadata(goodMetadata, withHeader("Content-Encoding", "gzip")), 415, oauth.InvalidRequest)
	expect(t, f.postMetadata(with(`"x":"`+strings.Repeat("a", 10<<20)+`"`)), 413, oauth.InvalidRequest)
	expect(t, f.postMetadata("", func(r *http.Request) { r.Body = brokenBody{} }), 400, oauth.InvalidRequest)
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH"} {
		expect(t, f.postMetadata(goodMetadata, withMethod(method)), 405, oauth.InvalidRequest)
	}
}
