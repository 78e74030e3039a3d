package pages

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// example is a page as people may meet it. Every page has one at least, and every error and notice appears in one.
type example struct {
	name   string
	method string // GET where empty
	data   any
}

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

var exampleScopes = []Scope{
	{Name: "openid"},
	{Name: "email"},
	{Name: "orders:read", Description: Text{"en": "Read your orders", "fr": "Lire vos commandes"}},
	{Name: "orders:write", Description: Text{"": "Change your orders"}, New: true},
	{Name: "internal:undescribed"},
}

var exampleFields = ApplicationFields{
	Name: "Harbour dashboard", Description: "Shows the orders of the day on a screen in the harbour office.", Contact: "mara@example.com",
	ClientType: "confidential", GrantTypes: []string{"authorization_code", "refresh_token"},
	RedirectURIs: "https://harbour.example.com/callback", Resources: []string{"https://api.example.com/orders"}, Scopes: []string{"orders:read"},
	Others: "https://api.example.com/orders", OtherScopes: "orders:read orders:write",
}

var exampleChoices = ApplicationChoices{
	GrantTypes: []string{"authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token", "urn:example:other"},
	Resources: []string{"https://api.example.com/orders", "https://api.example.com/invoices"},
	Scopes:    exampleScopes,
}

var exampleWelcome = Welcome{
	Issuer: "https://auth.example.com",
	Endpoints: Endpoints{
		Authorization: "https://auth.example.com/authorize", Token: "https://auth.example.com/token",
		DeviceAuthorization: "https://auth.example.com/device-authorization", DeviceVerification: "https://auth.example.com/device",
		UserInfo: "https://auth.example.com/userinfo", Introspection: "https://auth.example.com/introspect",
		Revocation:   "https://auth.example.com/revoke",
		Registration: "https://auth.example.com/register", EndSession: "https://auth.example.com/end-session",
		JWKS: "https://auth.example.com/.well-known/jwks.json", OpenIDConfiguration: "https://auth.example.com/.well-known/openid-configuration",
		ServerMetadata: "https://auth.example.com/.well-known/oauth-authorization-server",
	},
	AuthorizationCode: true, ClientCredentials: true, DeviceCode: true, TokenExchange: true, RefreshToken: true, BareToken: true,
	Scopes:   append([]Scope{{Name: "offline_access"}}, exampleScopes...),
	Resource: "https://api.example.com/orders", Contact: "oauth@example.com", RequestURL: "/applications/new", AccountURL: "/account",
}

func examples() []example {
	fresh := exampleWelcome
	fresh.Fresh, fresh.SignedInAs, fresh.Contact = true, "mara", "https://example.com/help"
	consent := Consent{Action: "/consent", CSRF: "c", Transaction: "t", Client: "Harbour dashboard", ClientHost: "harbour.example.com",
		User: "mara", Scopes: exampleScopes[:3], Resources: []string{"https://api.example.com/orders"}, Lifetime: time.Hour,
		FormTargets: []string{"https://harbour.example.com/callback?a=b"}}
	offline := consent
	offline.Offline, offline.OfflineFor, offline.AlreadyGranted, offline.Scopes = true, 30*24*time.Hour, true, exampleScopes
	confirm := DeviceConfirm{Action: "/device", CSRF: "c", Transaction: "t", Client: "Television", ClientHost: "tv.example.com", User: "mara",
		UserCode: "WDJB-MJHT", Scopes: exampleScopes[:3], Resources: []string{"https://api.example.com/orders"}, Offline: true,
		Address: "203.0.113.7", Requested: noon}
	account := Account{Action: "/account", CSRF: "c", User: "mara", Name: "Mara Lind", Email: "mara@example.com", LocalPassword: true, MinPassword: 12,
		Operator: true, ApplicationsURL: "/applications",
		Sessions: []Session{{ID: "1", Current: true, Browser: "Firefox, Linux", Address: "203.0.113.7", Started: noon, LastSeen: noon.Add(time.Hour)},
			{ID: "2", Browser: "Safari, iPhone", Started: noon, LastSeen: noon}, {ID: "3", Started: noon, LastSeen: noon}},
		Connections: []Connection{{ID: "a", Client: "Harbour dashboard", Host: "harbour.example.com", Scopes: exampleScopes[:3], Since: noon, LastUsed: noon, Offline: true},
			{ID: "b", Client: "Command line", Scopes: exampleScopes[2:3], Since: noon}}}
	list := []example{
		{name: "login", data: Login{Action: "/login", CSRF: "c", Transaction: "t", Client: "Harbour dashboard", Local: true, FormTargets: []string{"https://harbour.example.com/callback"}}},
		{name: "login-all", data: Login{Action: "/login", CSRF: "c", Transaction: "t", Client: "Harbour dashboard", Local: true, CaddyUser: "mara",
			Upstreams: []Upstream{{"corp", "Example Corp"}, {"other", "Another provider"}}, Username: "mara"}},
		{name: "login-upstream", data: Login{Action: "/login", CSRF: "c", Upstreams: []Upstream{{"corp", "Example Corp"}}}},
		{name: "consent", data: consent},
		{name: "consent-offline", data: offline},
		{name: "consent-plain", data: Consent{Action: "/consent", CSRF: "c", Client: "Harbour dashboard", User: "mara", Offline: true}},
		{name: "account", data: account},
		{name: "account-empty", data: Account{Action: "/account", CSRF: "c", User: "mara", Sessions: account.Sessions[:1]}},
		{name: "logout", data: Logout{Action: "/end-session", CSRF: "c", User: "mara", Client: "Harbour dashboard", FormTargets: []string{"https://harbour.example.com/bye"}}},
		{name: "logout-self", data: Logout{Action: "/end-session", CSRF: "c", User: "mara"}},
		{name: "logged-out", data: LoggedOut{Client: "Harbour dashboard", LoginURL: "/login"}},
		{name: "logged-out-plain", data: LoggedOut{}},
		{name: "device", data: Device{Action: "/device", CSRF: "c"}},
		{name: "device-confirm", data: confirm},
		{name: "device-approved", data: DeviceResult{Client: "Television", Approved: true}},
		{name: "device-denied", data: DeviceResult{Client: "Television"}},
		{name: "welcome", data: exampleWelcome},
		{name: "welcome-fresh", data: fresh},
		{name: "welcome-least", data: Welcome{Issuer: "https://auth.example.com"}},
		{name: "application", data: Application{Action: "/applications/new", CSRF: "c", Choices: exampleChoices}},
		{name: "application-errors", method: http.MethodPost, data: Application{Action: "/applications/new", CSRF: "c", Choices: exampleChoices, Fields: exampleFields,
			LanguageURL: "/applications/new", Errors: map[string]FieldError{FieldName: FieldRequired, FieldDescription: FieldTooLong, FieldContact: FieldBadContact,
				FieldRedirectURIs: FieldBadURI, FieldScope: FieldUnknownValue, FieldGrantType: FieldUnknownValue, FieldClientType: FieldUnknownValue,
				FieldResource: FieldUnknownValue, FieldResources: FieldTooLong, FieldScopes: FieldTooLong}}},
		{name: "application-received", data: ApplicationReceived{Name: "Harbour dashboard", Reference: "A-7K2M", Contact: "mara@example.com"}},
		{name: "application-list", data: ApplicationList{NextURL: "/applications?after=1", Entries: []ApplicationEntry{
			{Name: "Harbour dashboard", Contact: "mara@example.com", Received: noon, Status: ApplicationPending, URL: "/applications/1"},
			{Name: "Meter reader", Contact: "jo@example.com", Received: noon, Status: ApplicationApproved, URL: "/applications/2"},
			{Name: "Something else", Contact: "x@example.com", Received: noon, Status: ApplicationRejected}}}},
		{name: "application-list-empty", data: ApplicationList{}},
		{name: "application-review", data: ApplicationReview{Action: "/applications/1", CSRF: "c", Transaction: "t", Reference: "A-7K2M", Received: noon,
			Address: "203.0.113.7", Status: ApplicationPending, Fields: exampleFields, Choices: exampleChoices, ListURL: "/applications"}},
		{name: "application-review-registered", data: ApplicationReview{Action: "/applications/1", CSRF: "c", Transaction: "t", Reference: "A-7K2M", Received: noon,
			Address: "203.0.113.7", Status: ApplicationPending, Choices: exampleChoices, ListURL: "/applications",
			Fields: ApplicationFields{Name: "Harbour dashboard", ClientType: "public", GrantTypes: []string{"authorization_code"},
				RedirectURIs: "https://harbour.example.com/callback", OtherScopes: "openid", Registered: "5f0c"}}},
		{name: "application-approved", method: http.MethodPost, data: ApplicationReview{Reference: "A-7K2M", Received: noon, Status: ApplicationApproved,
			Fields: exampleFields, SecretURL: "https://auth.example.com/secret/5f0c", ListURL: "/applications"}},
		{name: "application-rejected", data: ApplicationReview{Reference: "A-7K2M", Received: noon, Status: ApplicationRejected, Reason: "A test, it seems.", Fields: exampleFields}},
		{name: "secret-reveal", data: SecretReveal{Action: "/secret/5f0c", CSRF: "c", Transaction: "t", Client: "Harbour dashboard", Expires: noon}},
		{name: "secret", method: http.MethodPost, data: Secret{Client: "Harbour dashboard", ClientID: "harbour", ClientSecret: "not-a-secret-but-as-long-as-one-43-chars-xx",
			TokenURL: "https://auth.example.com/token", WelcomeURL: "/"}},
		{name: "secret-public", method: http.MethodPost, data: Secret{Client: "Harbour dashboard", ClientID: "harbour"}},
		{name: "form-post", data: FormPost{Client: "Harbour dashboard", RedirectURI: "https://harbour.example.com/callback?x=1",
			Fields: []FormField{{"code", "abc"}, {"state", "a&b<c"}, {"submit", "x"}}}},
		{name: "error-own-words", data: Error{Title: Text{"": "Closed for today"}, Description: Text{"": "Come back tomorrow."}}},
	}
	for _, e := range []LoginError{LoginCredentials, LoginThrottled, LoginUpstream} {
		list = append(list, example{"login-" + string(e), http.MethodPost,
			Login{Action: "/login", CSRF: "c", Local: true, Error: e, Wait: 90 * time.Second, Username: "mara", LanguageURL: "/login?tx=1"}})
	}
	for _, e := range []DeviceError{DeviceUnknown, DeviceThrottled} {
		list = append(list, example{"device-" + string(e), http.MethodPost, Device{Action: "/device", CSRF: "c", Error: e, Wait: time.Second, UserCode: "ABCD-EFGH"}})
	}
	for _, e := range []PasswordError{PasswordWrong, PasswordShort, PasswordLong, PasswordCommon, PasswordThrottled} {
		withError := account
		withError.Error = e
		list = append(list, example{"account-" + string(e), http.MethodPost, withError})
	}
	for _, n := range []AccountNotice{NoticePasswordChanged, NoticeSessionEnded, NoticeSessionsEnded, NoticeDisconnected} {
		withNotice := account
		withNotice.Notice = n
		list = append(list, example{"account-" + string(n), "", withNotice})
	}
	for _, k := range errorKinds {
		list = append(list, example{"error-" + string(k), "",
			Error{Kind: k, Code: "invalid_request", Detail: "redirect_uri: not registered for this client", CorrelationID: "01J9Z3"}})
	}
	return list
}

// show renders an example through the method that takes its data.
func show(t *testing.T, p *Pages, w http.ResponseWriter, r *http.Request, data any) {
	t.Helper()
	switch d := data.(type) {
	case Login:
		p.Login(w, r, 200, d)
	case Consent:
		p.Consent(w, r, 200, d)
	case Error:
		p.Error(w, r, 400, d)
	case Account:
		p.Account(w, r, 200, d)
	case Logout:
		p.Logout(w, r, 200, d)
	case LoggedOut:
		p.LoggedOut(w, r, 200, d)
	case Device:
		p.Device(w, r, 200, d)
	case DeviceConfirm:
		p.DeviceConfirm(w, r, 200, d)
	case DeviceResult:
		p.DeviceResult(w, r, 200, d)
	case Welcome:
		p.Welcome(w, r, 200, d)
	case Application:
		p.Application(w, r, 200, d)
	case ApplicationReceived:
		p.ApplicationReceived(w, r, 200, d)
	case ApplicationList:
		p.ApplicationList(w, r, 200, d)
	case ApplicationReview:
		p.ApplicationReview(w, r, 200, d)
	case SecretReveal:
		p.SecretReveal(w, r, 200, d)
	case Secret:
		p.Secret(w, r, 200, d)
	case FormPost:
		p.FormPost(w, r, d)
	default:
		t.Fatalf("no page takes %T", data)
	}
}

// replaceTexts returns a copy of data with every text that is not empty replaced, lists and maps included. Enumerations stay, and
// so does the address of a form post, which the page refuses unless it is one.
func replaceTexts(data any, text string) any {
	v := reflect.New(reflect.TypeOf(data)).Elem()
	v.Set(reflect.ValueOf(data))
	replace(v, text)
	return v.Interface()
}

func replace(v reflect.Value, text string) {
	switch x := v.Interface().(type) {
	case time.Time:
		return
	case string:
		if x != "" && !strings.HasPrefix(x, "https://harbour.example.com/callback?x=1") {
			v.SetString(text)
		}
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(list, v)
		for i := range list.Len() {
			replace(list.Index(i), text)
		}
		v.Set(list)
	case reflect.Map:
		texts := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			entry := reflect.New(v.Type().Elem()).Elem()
			entry.Set(v.MapIndex(key))
			replace(entry, text)
			texts.SetMapIndex(key, entry)
		}
		v.Set(texts)
	case reflect.Struct:
		for i := range v.NumField() {
			replace(v.Field(i), text)
		}
	}
}
