package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule/probe"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/ledger"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// docs/admin-api.openapi.json is what programs of operators are built on. These
// tests hold it and the handlers against each other.

var inBraces = regexp.MustCompile(`\{[^}]*\}`)

// TestAdminContractOperations: every operation is described with its parameters,
// and nothing else is.
func TestAdminContractOperations(t *testing.T) {
	doc := readOpenAPI(t)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("version %s", doc.OpenAPI)
	}
	described := make(map[string]openAPIOperation)
	ids := make(map[string]bool)
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			pattern := strings.TrimPrefix(inBraces.ReplaceAllString(path, "*"), "/")
			described[strings.ToUpper(method)+" "+pattern] = operation
			if operation.ID == "" || operation.Summary == "" || ids[operation.ID] {
				t.Errorf("%s %s: operationId %q, summary %q", method, path, operation.ID, operation.Summary)
			}
			ids[operation.ID] = true
			checkParameters(t, doc, path, pattern, operation)
		}
	}
	for _, operation := range adminOperations {
		name := operation.method + " " + operation.pattern
		found, ok := described[name]
		if delete(described, name); !ok {
			t.Errorf("%s is not described", name)
			continue
		}
		if body := found.RequestBody != nil; body != (operation.method == http.MethodPost) {
			t.Errorf("%s: a body is described: %v", name, body)
		}
	}
	for name := range described {
		t.Errorf("%s is described, and there is no such operation", name)
	}
	known := make(map[string]bool)
	for _, tag := range doc.Tags {
		known[tag.Name] = true
	}
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			if len(operation.Tags) != 1 || !known[operation.Tags[0]] {
				t.Errorf("%s %s: tags %v", method, path, operation.Tags)
			}
		}
	}
}

func checkParameters(t *testing.T, doc *openAPI, path, pattern string, operation openAPIOperation) {
	var want, got []string
	for _, name := range inBraces.FindAllString(path, -1) {
		want = append(want, "path "+strings.Trim(name, "{}"))
	}
	if !slices.Contains(wholeServer, pattern) {
		want = append(want, "query issuer")
	}
	if slices.Contains(lists, pattern) && strings.HasPrefix(operation.ID, "list") {
		want = append(want, "query limit", "query after")
	}
	for _, p := range operation.Parameters {
		got = append(got, p.In+" "+p.Name)
		if p.Schema == nil || p.Required != (p.In == "path") || p.Description == "" {
			t.Errorf("%s: the parameter %s is described badly", path, p.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: parameters %v, want %v", operation.ID, got, want)
	}
	limit := doc.Components.Parameters["limit"].Schema
	if *limit.Minimum != 1 || *limit.Maximum != maxListLimit || limit.Default != float64(defaultListLimit) {
		t.Errorf("limit %+v", limit)
	}
}

// TestAdminContractSchemas: a schema has the members of the type behind it.
func TestAdminContractSchemas(t *testing.T) {
	doc := readOpenAPI(t)
	for name, of := range map[string]reflect.Type{
		"Client": reflect.TypeFor[clientAnswer](), "Approval": reflect.TypeFor[approvalAnswer](),
		"User": reflect.TypeFor[users.User](), "Address": reflect.TypeFor[users.Address](),
		"Authorization": reflect.TypeFor[ledger.Authorization](), "Application": reflect.TypeFor[issuer.Application](),
		"RegistrationToken": reflect.TypeFor[issuer.RegistrationToken](), "MadeRegistrationToken": reflect.TypeFor[registrationTokenAnswer](),
		"Key": reflect.TypeFor[keys.Info](), "Health": reflect.TypeFor[healthAnswer](),
		"Explanation": reflect.TypeFor[explanation](), "Question": reflect.TypeFor[question](), "ExplainedToken": reflect.TypeFor[explainedToken](),
		"ProbeTokens": reflect.TypeFor[issuer.ProbeTokens](), "ProbeTokensAnswer": reflect.TypeFor[probe.Given](),
		"StorageFaults": reflect.TypeFor[storageFaults](), "Fault": reflect.TypeFor[storageFault](),
	} {
		described, has := doc.Components.Schemas[name], membersOf(of)
		if described == nil {
			t.Errorf("there is no schema %s", name)
			continue
		}
		var always []string
		for member, is := range has {
			if p := doc.resolve(described.Properties[member]); p == nil || p.Type != is.jsonType {
				t.Errorf("%s.%s is %s, and described as %+v", name, member, is.jsonType, p)
			}
			if is.always {
				always = append(always, member)
			}
		}
		for member := range described.Properties {
			if _, ok := has[member]; !ok {
				t.Errorf("%s.%s is described, and there is none", name, member)
			}
		}
		if slices.Sort(always); !slices.Equal(always, described.Required) {
			t.Errorf("%s: required %v, want %v", name, described.Required, always)
		}
	}
	for name, of := range map[string]reflect.Type{"ClientMetadata": reflect.TypeFor[clients.Metadata](), "NewUser": reflect.TypeFor[newUser]()} {
		if got, want := slices.Sorted(maps.Keys(doc.Components.Schemas[name].Properties)), slices.Sorted(maps.Keys(membersOf(of))); !slices.Equal(got, want) {
			t.Errorf("%s: members %v, want %v", name, got, want)
		}
	}
	for name, s := range doc.Components.Schemas {
		if next := s.Properties["next"]; strings.HasSuffix(name, "List") && s.Type == "object" && (next == nil || len(s.Properties) != 2 || len(s.Required) != 1) {
			t.Errorf("%s is no part of a list", name)
		}
		if s.Type == "object" && string(s.Additional) != "false" || s.Description == "" {
			t.Errorf("%s leaves members open, or is not described", name)
		}
	}
}

// contractCaddyfile is a server on which every operation can succeed.
const contractCaddyfile = `{
	oauth {
		issuer $GATE {
			scope api:read "Read"
			registration token
			client app {
				name "The application"
				secret_hash $HASH
				grant client_credentials
				scope api:read
			}
			client web {
				secret_hash $HASH
				grant authorization_code refresh_token
				scope openid offline_access api:read
				redirect_uri https://app.test/cb
			}
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		scope * api:read
	}
	reverse_proxy /api/* $BACKEND
}
`

// contract is a server that is asked in the words of the document, which each
// answer is held against.
type contract struct {
	*server
	*openAPI
	seen map[string]map[int]bool // statuses, by operation
	args map[string]string       // good values of path parameters

	scope string // that the gate wants
}

func newContract(t *testing.T, b *backend) *contract {
	return &contract{
		server: start(t, contractCaddyfile, b.address), openAPI: readOpenAPI(t), seen: make(map[string]map[int]bool),
		args: map[string]string{"client_id": "late", "user": "alice"}, scope: "api:read",
	}
}

// find returns an operation by its id.
func (c *contract) find(id string) (method, path string, operation openAPIOperation) {
	c.t.Helper()
	for path, operations := range c.Paths {
		for method, operation := range operations {
			if operation.ID == id {
				return strings.ToUpper(method), path, operation
			}
		}
	}
	c.t.Fatalf("there is no operation %s", id)
	return "", "", openAPIOperation{}
}

// call does an operation and fails the test unless it answers with that status and
// what the document says for it. query may be empty, body nil.
func (c *contract) call(status int, id, query string, body any, headers ...string) answer {
	c.t.Helper()
	method, path, operation := c.find(id)
	path = inBraces.ReplaceAllStringFunc(path, func(name string) string { return url.PathEscape(c.args[strings.Trim(name, "{}")]) })
	if query != "" {
		query = "?" + query
	}
	text := ""
	if operation.RequestBody != nil {
		if body == nil {
			body = struct{}{}
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(encoded)
		if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Content-Type: ") }) {
			headers = append(headers, "Content-Type: application/json")
		}
	}
	a := c.send(method, "http://"+c.admin+"/oauth"+path+query, text, headers...)
	a.want(c.t, status)
	response, ok := operation.Responses[strconv.Itoa(status)]
	if !ok {
		c.t.Errorf("%s answers with %d, which is not described: %s", id, status, a.body)
		return a
	}
	if c.seen[id] == nil {
		c.seen[id] = make(map[int]bool)
	}
	c.seen[id][status] = true
	contentType := a.Header.Get("Content-Type")
	content, ok := response.Content[contentType]
	switch {
	case !ok:
		c.t.Errorf("%s, %d: Content-Type %q is not described", id, status, contentType)
	case content.Schema != nil:
		var value any
		if err := json.Unmarshal([]byte(a.body), &value); err != nil {
			c.t.Errorf("%s, %d: %v: %s", id, status, err, a.body)
		} else if err := c.check(id, content.Schema, value); err != nil {
			c.t.Errorf("%d: %v: %s", status, err, a.body)
		}
	}
	return a
}

// do is call for an operation that succeeds, with a body that is as described.
func (c *contract) do(id string, body map[string]any) answer {
	c.t.Helper()
	if _, _, operation := c.find(id); body != nil {
		var value any
		encoded, err := json.Marshal(body)
		if err == nil {
			err = json.Unmarshal(encoded, &value)
		}
		if err == nil {
			err = c.check(id, operation.RequestBody.Content["application/json"].Schema, value)
		}
		if err != nil {
			c.t.Errorf("a body that is not as described: %v", err)
		}
	}
	return c.call(http.StatusOK, id, "", body)
}

// granted is an authorization of alice's for web, with an access token of it.
func (c *contract) granted() (token string) {
	c.t.Helper()
	alice := c.browser()
	alice.open(c.url + "/authorize?" + authorizationRequest("web", "scope=openid offline_access "+c.scope).Encode())
	alice.signIn(c.url)
	alice.press(c.url+"/consent", "allow")
	at, err := url.Parse(alice.at)
	if err != nil {
		c.t.Fatal(err)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "redirect_uri": {"https://app.test/cb"}, "code_verifier": {attackVerifier}}
	a := c.send("POST", "/token", form.Encode(), basic("web", appSecret), "Content-Type: application/x-www-form-urlencoded")
	a.want(c.t, 200)
	return a.member(c.t, "access_token")
}

// reference of the only request for an application.
func (c *contract) apply(name string) (reference string) {
	c.t.Helper()
	c.request(name, "client_type", "confidential", "grant_type", "client_credentials", "scopes", c.scope)
	var list struct{ Applications []issuer.Application }
	if err := json.Unmarshal([]byte(c.do("listApplications", nil).body), &list); err != nil {
		c.t.Fatal(err)
	}
	for _, a := range list.Applications {
		if a.Name == name {
			return a.Reference
		}
	}
	c.t.Fatalf("no request %s", name)
	return ""
}

// TestAdminContractAnswers calls every operation: what it answers is as described,
// and every error that is described occurs.
func TestAdminContractAnswers(t *testing.T) {
	b := startBackend(t)
	c := newContract(t, b)
	c.succeed()
	c.conflict()
	c.refuse()
	c.switchOff()
	c.loseStorage()
	for _, operations := range c.Paths {
		for _, operation := range operations {
			var described, seen []int
			for status := range operation.Responses {
				n, err := strconv.Atoi(status)
				if err != nil {
					t.Fatal(err)
				}
				described = append(described, n)
			}
			slices.Sort(described)
			if seen = slices.Sorted(maps.Keys(c.seen[operation.ID])); !slices.Equal(seen, described) {
				t.Errorf("%s: statuses %v are described, %v were seen", operation.ID, described, seen)
			}
		}
	}
}

// succeed does everything once, in an order in which it can be done.
func (c *contract) succeed() {
	metadata := map[string]any{
		"client_id": "late", "client_name": "Late", "client_type": "confidential", "scope": "api:read", "resources": []string{c.url + "/api"},
		"grant_types":   []string{"client_credentials", "authorization_code", "refresh_token", "token_exchange"},
		"redirect_uris": []string{"https://late.test/cb"}, "post_logout_redirect_uris": []string{"https://late.test/"},
		"pkce_optional": true, "short_code_verifier": true, "refresh_token_always": true, "impersonation": true, "disabled": true,
	}
	c.do("addClient", metadata)
	c.do("enableClient", nil)
	c.do("listClients", nil)
	contains(c.t, c.call(http.StatusOK, "listClients", "limit=1", nil).body, `"next":`)
	c.do("showClient", nil)
	c.do("rotateSecret", map[string]any{"overlap_seconds": 60})
	c.do("disableClient", nil)
	c.do("removeClient", nil)
	c.do("addClient", map[string]any{"client_id": "late", "scope": "api:read"})

	c.do("addUser", map[string]any{"username": "alice", "password": alicePassword, "name": "Alice", "email": "alice@corp.test", "email_verified": true, "operator": true})
	c.do("listUsers", nil)
	c.do("showUser", nil)
	token := c.granted()
	c.do("listAuthorizationsOf", nil)
	c.args["authorization_id"] = c.listed("listAuthorizations", "authorizations", "authorization_id")
	c.do("explainRequest", map[string]any{"token": token, "url": c.url + "/api/x", "method": "GET", "header": map[string]any{"Accept": []string{"text/plain"}}})
	c.do("revokeToken", map[string]any{"token": token})
	c.do("revokeToken", map[string]any{"token": token}) // nothing is left to revoke
	c.do("revokeAuthorization", nil)
	c.do("disableUser", nil)
	c.do("enableUser", nil)
	c.do("setPassword", map[string]any{"password": alicePassword + " anew"})

	c.args["reference"] = c.apply("Approved")
	c.do("showApplication", nil)
	c.do("approveApplication", map[string]any{"client_id": "approved"})
	c.do("showApplication", nil)
	c.args["reference"] = c.apply("Rejected")
	c.do("rejectApplication", map[string]any{"reason": "No."})

	c.args["id"] = c.do("createRegistrationToken", map[string]any{"uses": 2, "expires_seconds": 3600}).member(c.t, "id")
	c.do("listRegistrationTokens", nil)
	c.do("removeRegistrationToken", nil)

	c.do("listKeys", nil)
	c.do("rotateKeys", map[string]any{"immediately": true})
	c.args["kid"] = c.keys()[0].KID
	c.do("revokeKey", nil)
	c.do("explainRequest", map[string]any{"url": c.url + "/api/x"})
	c.do("explainRequest", map[string]any{"url": c.url + "/none"})
	c.do("mintProbeTokens", map[string]any{"client_id": "app", "url": c.url + "/api/x"})
	c.do("serveHealth", nil)
	c.do("backupStorage", nil)
	c.do("checkStorage", nil)
	c.do("removeUser", nil)
	c.do("addUser", map[string]any{"username": "alice"})
}

// listed is a member of the first entry of a list.
func (c *contract) listed(id, name, member string) string {
	c.t.Helper()
	var members map[string][]map[string]any
	if err := json.Unmarshal([]byte(c.do(id, nil).body), &members); err != nil || len(members[name]) == 0 {
		c.t.Fatalf("%s: %v %v", id, members, err)
	}
	return members[name][0][member].(string)
}

// conflict: what cannot be done to what is there.
func (c *contract) conflict() {
	for _, test := range []struct {
		id   string
		args map[string]string
		body any
		says string
	}{
		{"addClient", nil, map[string]string{"client_id": "late"}, "there is a client with this id already"},
		{"addUser", nil, map[string]string{"username": "Alice"}, "the username is taken"},
		{"removeClient", map[string]string{"client_id": "app"}, nil, "declared in the configuration"},
		{"rotateSecret", map[string]string{"client_id": "app"}, nil, "declared in the configuration"},
		{"disableClient", map[string]string{"client_id": "app"}, nil, "declared in the configuration"},
		{"enableClient", map[string]string{"client_id": "app"}, nil, "declared in the configuration"},
		{"approveApplication", nil, nil, "approved or rejected already"},
		{"rejectApplication", nil, nil, "approved or rejected already"},
	} {
		c.with(test.args, func() { contains(c.t, c.call(http.StatusConflict, test.id, "", test.body).body, test.says) })
	}
}

// with does something while path parameters have other values.
func (c *contract) with(args map[string]string, do func()) {
	kept := maps.Clone(c.args)
	maps.Copy(c.args, args)
	do()
	c.args = kept
}

// refuse: what every operation refuses.
func (c *contract) refuse() {
	unknown := map[string]string{
		"client_id": "nobody", "user": "nobody", "reference": "aaaaaaaaaa", "authorization_id": "none", "id": "none", "kid": "none",
	}
	for path, operations := range c.Paths {
		for method, operation := range operations {
			id := operation.ID
			c.call(http.StatusForbidden, id, "", nil, "Origin: https://evil.test")
			contains(c.t, c.call(http.StatusBadRequest, id, "isuer=x", nil).body, `no query parameter \"isuer\"`)
			contains(c.t, c.call(http.StatusBadRequest, id, "issuer=x&issuer=x", nil).body, "twice")
			c.call(http.StatusBadRequest, id, "issuer=%zz", nil)
			if slices.ContainsFunc(operation.Parameters, func(p openAPIParameter) bool { return p.Name == "issuer" }) {
				contains(c.t, c.call(http.StatusBadRequest, id, "issuer=https://nobody.test", nil).body, "no issuer https://nobody.test is configured")
			}
			if strings.Contains(path, "{") {
				c.with(unknown, func() { c.call(http.StatusNotFound, id, "", nil) })
			}
			if method != "post" {
				continue
			}
			contains(c.t, c.call(http.StatusBadRequest, id, "", map[string]int{"nonsense": 1}).body, `unknown field \"nonsense\"`)
			described := operation.RequestBody.Content["application/json"].Schema
			for _, name := range c.resolve(described).Required {
				all := c.example(id)
				delete(all, name)
				c.call(http.StatusBadRequest, id, "", all)
			}
			for _, contentType := range foreignTypes {
				c.call(http.StatusUnsupportedMediaType, id, "", nil, "Content-Type: "+contentType)
			}
		}
	}
}

// example is a good body of an operation that needs one.
func (c *contract) example(id string) map[string]any {
	return maps.Clone(map[string]map[string]any{
		"addUser": {"username": "bob"}, "setPassword": {"password": alicePassword}, "revokeToken": {"token": c.appToken()},
		"explainRequest": {"url": c.url + "/api/x"}, "mintProbeTokens": {"client_id": "app", "url": c.url + "/api/x"},
	}[id])
}

// switchOff: with admin_api off there is nothing, whatever is asked for.
func (c *contract) switchOff() {
	if err := c.load(strings.Replace(contractCaddyfile, "oauth {", "oauth {\n\t\tadmin_api off", 1)); err != nil {
		c.t.Fatal(err)
	}
	for _, operations := range c.Paths {
		for _, operation := range operations {
			contains(c.t, c.call(http.StatusNotFound, operation.ID, "", nil).body, "admin_api off")
		}
	}
	if err := c.load(contractCaddyfile); err != nil {
		c.t.Fatal(err)
	}
}

// loseStorage: without a storage nothing is known, and nothing can be done.
func (c *contract) loseStorage() {
	examples := make(map[string]map[string]any)
	for _, operations := range c.Paths {
		for _, operation := range operations {
			examples[operation.ID] = c.example(operation.ID)
		}
	}
	if err := activeApp(c.t).vault.opened.Load().store.Close(); err != nil {
		c.t.Fatal(err)
	}
	for _, operations := range c.Paths {
		for _, operation := range operations {
			if _, described := operation.Responses["503"]; !described {
				continue
			}
			var body any
			if example := examples[operation.ID]; example != nil {
				body = example
			}
			c.call(http.StatusServiceUnavailable, operation.ID, "", body)
		}
	}
}
