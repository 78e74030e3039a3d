package pages

import (
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"
)

// Examples of a flow that is off are not shown, and its neighbours are.
func TestWelcomeFollowsConfiguration(t *testing.T) {
	p := newPages(t, Options{})
	for _, tt := range []struct {
		name    string
		turnOff func(*Welcome)
		gone    string
	}{
		{"authorization code", func(w *Welcome) { w.AuthorizationCode = false }, `id="authorization-code`},
		{"client credentials", func(w *Welcome) { w.ClientCredentials = false }, `id="client-credentials`},
		{"device code", func(w *Welcome) { w.DeviceCode = false }, `id="device-code`},
		{"token exchange", func(w *Welcome) { w.TokenExchange = false }, `id="token-exchange`},
		{"refresh tokens", func(w *Welcome) { w.RefreshToken = false }, `grant_type=refresh_token`},
		{"the bare token", func(w *Welcome) { w.BareToken = false }, "The token alone"},
		{"registration", func(w *Welcome) { w.Endpoints.Registration = "" }, "https://auth.example.com/register"},
		{"requests", func(w *Welcome) { w.RequestURL = "" }, "/applications/new"},
	} {
		body := func(d Welcome) string {
			w := httptest.NewRecorder()
			p.Welcome(w, request("", "/", "en"), 200, d)
			return w.Body.String()
		}
		d := exampleWelcome
		on := body(d)
		tt.turnOff(&d)
		if !strings.Contains(on, tt.gone) || strings.Contains(body(d), tt.gone) {
			t.Errorf("%s: %q must be there when it is on, and only then", tt.name, tt.gone)
		}
	}
}

// A scope or URL cannot leave its quotation marks in any of the languages, nor begin a line of its own.
func TestSnippetQuoting(t *testing.T) {
	hostile := exampleWelcome
	hostile.Resource = "https://api.test/'\"$(id)`id`\n; id #\\"
	hostile.Scopes = []Scope{{Name: "a'; id; '$x{$y}\\"}}
	files, err := fs.ReadDir(snippetFiles, "snippets")
	if err != nil {
		t.Fatal(err)
	}
	quoted := map[string]string{
		".sh":  `'https://api.test/'\''"$(id)` + "`id`" + `; id #\'`,
		".php": `'https://api.test/\'"$(id)` + "`id`" + `; id #\\'`,
		".js":  `"https://api.test/'\"$(id)` + "`id`" + `; id #\\"`,
		".py":  `"https://api.test/'\"$(id)` + "`id`" + `; id #\\"`,
	}
	seen := make(map[string]bool)
	for _, file := range files {
		text, err := snippet(file.Name(), newWelcomeView(hostile))
		if err != nil {
			t.Fatal(err)
		}
		extension := file.Name()[strings.LastIndex(file.Name(), "."):]
		rest := strings.ReplaceAll(text, quoted[extension], "")
		rest = strings.ReplaceAll(rest, `'resource=`+strings.TrimPrefix(quoted[".sh"], "'"), "")
		if strings.Contains(rest, "api.test") && !strings.Contains(rest, "api.test%2F") {
			t.Errorf("%s: the resource stands unquoted:\n%s", file.Name(), text)
		}
		seen[extension] = seen[extension] || strings.Contains(text, quoted[extension])
	}
	for extension := range quoted {
		if !seen[extension] {
			t.Errorf("no example ending in %s names the resource", extension)
		}
	}
}
