package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

var update = flag.Bool("update", false, "write what the adapter answers into testdata/adapt")

const adaptSeparator = "----------\n"

// TestAdapt: a file of testdata/adapt is a Caddyfile, a line of dashes and the
// JSON that it stands for.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, _ := strings.Cut(string(text), adaptSeparator)
			adapted, err := adapt(caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, adapted, "", "\t"); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			if *update {
				if err := os.WriteFile(file, []byte(caddyfile+adaptSeparator+got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != want {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
			survivesJSON(t, adapted)
		})
	}
}

// survivesJSON: what the Caddyfile sets is there again after the way through
// JSON, which is the only thing a server keeps.
func survivesJSON(t *testing.T, adapted []byte) {
	t.Helper()
	var config struct {
		Apps struct {
			OAuth json.RawMessage `json:"oauth"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(config.Apps.OAuth, app); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(config.Apps.OAuth) {
		t.Errorf("the app changes on its way through JSON:\n%s\n%s", config.Apps.OAuth, again)
	}
}

// TestJSONUnknownFields: a misspelt option is refused, not left out.
func TestJSONUnknownFields(t *testing.T) {
	s := newServer(t, "")
	t.Setenv("XDG_DATA_HOME", s.dir)
	const good = `{"admin":{"disabled":true},"apps":{"oauth":{"issuers":[{"url":"https://a.example","scopes":[{"name":"s"}],"clients":[{"id":"c","public":true}]}]},` +
		`"http":{"servers":{"x":{"routes":[{"handle":[{"handler":"oauth_issuer"},{"handler":"oauth_protect","resource":"https://a.example/api","scope_rules":[{"scopes":["s"]}]}]}]}}}}}`
	if err := validate(good); err != nil {
		t.Fatal("the control:", err)
	}
	for _, place := range []string{`"issuers":[`, `{"url":`, `{"name":`, `{"id":`, `{"handler":"oauth_issuer"`, `"resource":`, `{"scopes":["s"]`} {
		broken := strings.Replace(good, place, `"misspelt":1,`+place, 1)
		if strings.HasPrefix(place, "{") {
			broken = strings.Replace(good, place, `{"misspelt":1,`+place[1:], 1)
		}
		if err := validate(broken); err == nil || !strings.Contains(err.Error(), "misspelt") {
			t.Errorf("beside %s: %v", place, err)
		}
	}
}

// TestCaddyfileMistakes: each mistake is refused, and the message says what is
// wrong.
func TestCaddyfileMistakes(t *testing.T) {
	const app = `{
	oauth {
		$APP
		issuer $URL {
			$ISSUER
			client c {
				$SECRET
				$CLIENT
			}
		}
	}
	$GLOBAL
}

http://a.example {
	oauth_issuer $NAME
	oauth_protect {
		$RESOURCE
		$PROTECT
	}
}
`
	good := map[string]string{
		"$URL": "https://a.example", "$SECRET": "secret_hash sha256:" + strings.Repeat("0", 64), "$RESOURCE": "resource https://a.example/api",
		"$APP": "", "$ISSUER": "", "$CLIENT": "", "$GLOBAL": "", "$NAME": "", "$PROTECT": "",
	}
	load := func(replace, with string) error {
		text := app
		for name, value := range good {
			if name == replace {
				value = with
			}
			text = strings.ReplaceAll(text, name, value)
		}
		s := newServer(t, "")
		t.Setenv("XDG_DATA_HOME", s.dir)
		return s.validate(text)
	}
	if err := load("", ""); err != nil {
		t.Fatal("the control:", err)
	}
	for _, test := range []struct{ replace, with, says string }{
		{"$APP", "misspelt", "unknown option of oauth: misspelt"},
		{"$APP", "misspelt", "there is: admin_api, issuer, key_encryption_key, storage"},
		{"$APP", "admin_api on {\nx\n}", "what stands before this { takes no block"},
		{"$APP", "storage", "wrong argument count"},
		{"$APP", "storage nothing", "oauth.storage.nothing"},
		{"$APP", "storage bolt extra", "wrong argument count"},
		{"$APP", "storage bolt {\nmisspelt x\n}", "unknown option of storage bolt: misspelt"},
		{"$APP", "storage bolt {\npath a b\n}", "wrong argument count"},
		{"$APP", "storage bolt {\npath a\nmisspelt x\n}", "unknown option of storage bolt: misspelt"},
		{"$APP", "storage bolt {\npath a\npath b\n}", "path stands twice"},
		{"$APP", "storage bolt\nstorage bolt", "storage stands twice"},
		{"$APP", "storage postgres", "needs a connection"},
		{"$APP", "storage postgres {\nconnection host=localhost\nmisspelt x\n}", "unknown option of storage postgres: misspelt"},
		{"$APP", "storage postgres {\nconnection host=localhost\nconnections 1\n}", "at least 2"},
		{"$APP", "storage postgres {\nconnection host=db.example.com\n}", "name an sslmode"},
		{"$APP", "key_encryption_key", "wrong argument count"},
		{"$APP", "key_encryption_key {env.X}\nkey_encryption_key {env.X}", "names the same key twice"},
		{"$APP", "key_encryption_key c2VjcmV0", "want a placeholder such as {file./run/secrets/kek}"},
		{"$APP", "issuer", "wrong argument count"},
		{"$APP", "issuer https://a.example extra", "wrong argument count"},
		{"$APP", "issuer https://a.example", "issuer https://a.example is configured twice"},
		{"$APP", "issuer https://b.example", "there are several issuers; name one of: https://b.example, https://a.example"},
		{"$GLOBAL", "oauth {\nissuer https://b.example\n}", "the oauth option stands twice"},

		{"$URL", "{env.HOME}", "the placeholder {env.HOME} has no effect here; a Caddyfile can say {$HOME}"},
		{"$URL", "https://a.example/", "leave out the slash at the end"},
		{"$URL", "https://a.example?x", "neither query nor fragment"},
		{"$URL", "https://a.example#x", "neither query nor fragment"},
		{"$URL", "https://A.example", "write the host in lower case"},
		{"$URL", "http://a.example", "http sends secrets and tokens in clear"},
		{"$URL", "ftp://a.example", "want an https URL"},
		{"$URL", "https://user@a.example", "want https://host"},
		{"$URL", "a.example", "want an https URL"},

		{"$ISSUER", "misspelt", "unknown option of issuer: misspelt"},
		{"$ISSUER", "insecure_http yes", "wrong argument count"},
		{"$ISSUER", "scope", "wrong argument count"},
		{"$ISSUER", "scope a b c", "wrong argument count"},
		{"$ISSUER", "scope a\nscope a", `scope "a" is declared twice`},
		{"$ISSUER", `scope "a b"`, "RFC 6749 section 3.3"},
		{"$ISSUER", "client c {\npublic\n}", "client c is declared twice"},
		{"$ISSUER", "client d", "client d: a confidential client needs a secret"},
		{"$ISSUER", "client", "wrong argument count"},
		{"$ISSUER", "signing_algorithm HS256", "HS256"},
		{"$ISSUER", "signing_algorithm none", "none"},
		{"$ISSUER", "signing_algorithm ES256\nsigning_algorithm ES256", "signing_algorithm stands twice"},
		{"$ISSUER", "access_token_lifetime soon", "access_token_lifetime: "},
		{"$ISSUER", "access_token_lifetime 1s", "want 10s to 24h"},
		{"$ISSUER", "access_token_lifetime 48h", "want 10s to 24h"},
		{"$ISSUER", "access_token_lifetime -1h", "want a positive duration"},
		{"$ISSUER", "access_token_lifetime 1h\naccess_token_lifetime 1h", "access_token_lifetime stands twice"},
		{"$ISSUER", "refresh_token_grace 5s\nrefresh_token_grace off", "refresh_token_grace stands twice"},
		{"$ISSUER", "refresh_token_grace off\nrefresh_token_grace off", "refresh_token_grace stands twice"},
		{"$ISSUER", "key_rotation 1m", "key rotation every 1m0s"},
		{"$ISSUER", "default_resource nowhere", "default resource"},
		{"$ISSUER", "default_resource https://a https://b", "wrong argument count"},

		{"$ISSUER", "pages {\nlogo none.svg\n}", "logo: open none.svg: no such file"},
		{"$ISSUER", "pages {\ntemplate_dir none\n}", "none: no such file"},
		{"$ISSUER", "pages {\nname {env.HOME}\n}", "pages: name: the placeholder {env.HOME} has no effect here"},
		{"$ISSUER", "login upstream https://b.example", "the client id is missing"},
		{"$ISSUER", "login upstream https://b.example {\nclient_id a\n}\nlogin upstream https://c.example {\nclient_id a\n}", "give one of them another id"},
		{"$ISSUER", "login local {\n}", "what stands before this { takes no block"},
		{"$ISSUER", "scope {file./etc/hostname}", "scopes: name: the placeholder {file./etc/hostname} has no effect here"},

		{"$CLIENT", "name {env.HOME}", "clients: name: the placeholder {env.HOME} has no effect here"},
		{"$CLIENT", "misspelt", "unknown option of client: misspelt"},
		{"$CLIENT", "public extra", "wrong argument count"},
		{"$CLIENT", "public", "a public client has no secret"},
		{"$CLIENT", "name A\nname B", "name stands twice"},
		{"$CLIENT", "grant", "wrong argument count"},
		{"$CLIENT", "grant password", "password"},
		{"$CLIENT", "scope nope", "nope"},
		{"$CLIENT", "resource nowhere", "resource"},
		{"$SECRET", "", "client c: a confidential client needs a secret"},
		{"$SECRET", "secret_hash abc", "secret_hash: "},
		{"$SECRET", "secret {env.OAUTH_TEST_UNSET}", "secret: "},

		{"$NAME", "https://b.example", "no issuer https://b.example is configured; there is: https://a.example"},
		{"$NAME", "https://a.example extra", "wrong argument count"},
		{"$NAME", "{\nmisspelt\n}", "oauth_issuer has no options"},

		{"$RESOURCE", "", "oauth_protect needs a resource"},
		{"$RESOURCE", "resource /api", "want an absolute URI without fragment"},
		{"$RESOURCE", "resource https://a.example/api#x", "want an absolute URI without fragment"},
		{"$RESOURCE", "resource https://a.example https://b.example", "wrong argument count"},
		{"$RESOURCE", "resource https://a.example/{env.HOME}", "resource: the placeholder {env.HOME} has no effect here"},
		{"$RESOURCE", "resource nowhere", "oauth_protect at Caddyfile:29: resource"},
		{"$PROTECT", "resource https://b.example", "resource stands twice"},
		{"$PROTECT", "metadata on\nmetadata off", "metadata stands twice"},
		{"$PROTECT", "trusted_issuer https://a.example", "write issuer instead"},
		{"$PROTECT", "client {env.HOME}", "clients: the placeholder {env.HOME} has no effect here"},
		{"$PROTECT", "claim tenant {labels.1}", "the placeholder {http.request.host.labels.1} has no effect here"},
		{"$PROTECT", "public {http.request.header.X-Open}", "has no effect here"},
		{"$PROTECT", "public /x/{id}", "braces have no meaning here"},
		{"$PROTECT", "public x", "paths begin with a slash"},
		{"$PROTECT", "public /[a", "syntax error in pattern"},
		{"$PROTECT", "scope GET /x/{id} a", "braces have no meaning here"},
		{"$PROTECT", "scope GET /[a a", "syntax error in pattern"},
		{"$PROTECT", "scope GET;HEAD a", "write methods in upper case"},
		{"$PROTECT", "misspelt", "unknown option of oauth_protect: misspelt"},
		{"$PROTECT", "issuer https://b.example", "no issuer https://b.example is configured; there is: https://a.example"},
		{"$PROTECT", "issuer", "wrong argument count"},
		{"$PROTECT", "scope GET", "scope wants a method"},
		{"$PROTECT", "scope get a", "write methods in upper case"},
		{"$PROTECT", "scope GET, a", "write methods in upper case"},
		{"$PROTECT", "scope * a\nscope GET b", "would never be used, since the first rule for a request decides, and the one at Caddyfile:31"},
		{"$PROTECT", "scope GET a\nscope GET /x/* b", "would never be used"},
		{"$PROTECT", "scope * /x/* a\nscope GET /x b", "would never be used"},
		{"$PROTECT", "scope GET,POST /x/* /y a\nscope HEAD /z c\nscope POST /y /X/admin/* b", "would never be used"},
		{"$PROTECT", `scope * "a b"`, "RFC 6749 section 3.3"},
		{"$PROTECT", "identity_header X-A", "wrong argument count"},
		{"$PROTECT", `identity_header "X A" sub`, "want a header name and the name of a claim"},
		{"$PROTECT", "forward_token yes", "wrong argument count"},
		{"$PROTECT", "bare_token", "bare_token wants on or off"},
		{"$PROTECT", "bare_token maybe", "bare_token wants on or off"},
	} {
		name := strings.ReplaceAll(test.replace[1:]+" "+test.with, "\n", " ")
		t.Run(name, func(t *testing.T) {
			err := load(test.replace, test.with)
			if err == nil {
				t.Fatal("it is accepted")
			}
			contains(t, err.Error(), test.says)
		})
	}
}
