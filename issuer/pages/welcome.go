package pages

import (
	"net/http"
	"strings"
)

// Welcome tells developers how to use this server, and operators what to do next. All of it follows from the running
// configuration: an endpoint without URL and a flow that is off do not appear.
type Welcome struct {
	Issuer    string // the issuer's URL
	Endpoints Endpoints

	AuthorizationCode bool
	ClientCredentials bool
	DeviceCode        bool
	TokenExchange     bool
	RefreshToken      bool // offline_access is granted to those who ask
	BareToken         bool // resources accept "Authorization: TOKEN", without "Bearer"

	Scopes   []Scope // that clients may ask for
	Resource string  // URL of a protected API, for the examples; empty: a made-up one
	Contact  string  // email address or URL of the operator; may be empty

	// RequestURL is the path where people request an application; empty where they cannot.
	RequestURL string

	// Fresh says that no client exists yet: the page then tells the operator what comes next. It names no secret and may be
	// shown to anyone.
	Fresh bool

	SignedInAs  string // empty: nobody is signed in
	AccountURL  string // path of the account page; empty: not linked
	LanguageURL string // see Login.LanguageURL
}

// Endpoints are absolute URLs; an empty one is off.
type Endpoints struct {
	Authorization       string
	Token               string
	DeviceAuthorization string
	DeviceVerification  string // where people type the user code
	UserInfo            string
	Introspection       string
	Revocation          string
	Registration        string
	EndSession          string
	JWKS                string
	OpenIDConfiguration string
	ServerMetadata      string // RFC 8414
}

// welcomeView is what the template sees: the data, with the examples made from it.
type welcomeView struct {
	Welcome
	ExampleResource string
	ExampleScopes   []string // of the examples: scopes of the resource
	UserScopes      []string // of examples in which a person takes part: "openid" and offline_access too, where they are on
}

// Welcome renders the welcome page.
func (p *Pages) Welcome(w http.ResponseWriter, r *http.Request, status int, d Welcome) {
	p.render(w, r, page{template: "welcome.html", status: status, data: newWelcomeView(d), languageURL: d.LanguageURL})
}

func newWelcomeView(d Welcome) welcomeView {
	v := welcomeView{Welcome: d, ExampleResource: d.Resource}
	if v.ExampleResource == "" {
		v.ExampleResource = "https://api.example.com/"
	}
	var user, own []string
	for _, s := range d.Scopes {
		switch s.Name {
		case "openid":
			user = append(user, s.Name)
		case "offline_access":
			if d.RefreshToken {
				user = append(user, s.Name)
			}
		case "profile", "email", "phone", "address":
		default:
			if len(own) < 2 {
				own = append(own, s.Name)
			}
		}
	}
	v.ExampleScopes, v.UserScopes = own, append(user, own...)
	return v
}

// ExampleScope is ExampleScopes as the scope parameter (RFC 6749 §3.3).
func (v welcomeView) ExampleScope() string { return strings.Join(v.ExampleScopes, " ") }

// UserScope is UserScopes as the scope parameter.
func (v welcomeView) UserScope() string { return strings.Join(v.UserScopes, " ") }

// Snippet renders an example; its name is that of the file in snippets/.
func (v welcomeView) Snippet(name string) (string, error) { return snippet(name, v) }
