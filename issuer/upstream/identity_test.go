package upstream

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// finish signs somebody in who must get in.
func finish(t *testing.T, p *toy, config func(*Config), force bool) *Identity {
	t.Helper()
	provider := p.provider(t, config)
	pending, brought := p.begin(t, provider, force)
	identity, err := provider.Finish(t.Context(), pending, brought)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestIdentity(t *testing.T) {
	p := newToy(t)
	now := time.Now().Truncate(time.Second)
	p.claims = func(m map[string]any) {
		m["given_name"], m["family_name"], m["locale"], m["picture"] = "Jane", "Doe", "de_AT", "https://example.com/j.png"
		m["auth_time"], m["amr"], m["acr"] = now.Unix(), []any{"pwd", 1, "otp"}, "urn:2fa"
		m["aud"], m["azp"] = []string{testClientID, "other"}, testClientID
	}
	want := &Identity{
		Issuer: p.URL, Subject: testSubject, Username: "jane", Name: "Jane Doe", GivenName: "Jane", FamilyName: "Doe",
		Email: "jane@example.com", EmailVerified: true, Locale: "de-AT", Picture: "https://example.com/j.png",
		AuthTime: now, AMR: []string{"pwd", "otp"}, ACR: "urn:2fa",
	}
	if got := finish(t, p, nil, true); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if n := p.count("/userinfo"); n != 0 {
		t.Errorf("UserInfo was asked %d times for what the ID token says", n)
	}
}

// Core §5.3: what the ID token leaves out comes from UserInfo.
func TestUserInfoAdds(t *testing.T) {
	p := newToy(t)
	p.claims = func(m map[string]any) { delete(m, "email"); delete(m, "email_verified") }
	p.userinfo = set("name", "Somebody Else")
	got := finish(t, p, allowDomain("EXAMPLE.com"), false)
	if got.Email != "jane@example.com" || !got.EmailVerified || got.Name != "Jane Doe" {
		t.Errorf("got %+v", got)
	}
}

func TestUsername(t *testing.T) {
	long := strings.Repeat("j", 255)
	for _, test := range []struct {
		what   string
		claims map[string]any // nil removes
		config func(*Config)
		want   string
	}{
		{"preferred_username", nil, nil, "jane"},
		{"else email", map[string]any{"preferred_username": nil}, nil, "jane@example.com"},
		{"else sub", map[string]any{"preferred_username": nil, "email": nil}, nil, testSubject},
		{"a mapped claim", map[string]any{"upn": "JD"}, func(c *Config) { c.Claims.Username = "upn" }, "JD"},
		{"one with a hidden character is not shortened to another's", map[string]any{"preferred_username": "ad\u200bmin", "email": nil}, nil, testSubject},
		{"one with a line break", map[string]any{"preferred_username": "a\nb", "email": nil}, nil, testSubject},
		{"one that is too long", map[string]any{"preferred_username": long, "email": nil}, nil, testSubject},
		{"one that is no text", map[string]any{"preferred_username": 1, "email": nil}, nil, testSubject},
	} {
		t.Run(test.what, func(t *testing.T) {
			p := newToy(t)
			p.metadata = set("userinfo_endpoint", nil)
			p.claims = func(m map[string]any) {
				for name, value := range test.claims {
					set(name, value)(m)
				}
			}
			if got := finish(t, p, test.config, false); got.Username != test.want {
				t.Errorf("got %q, want %q", got.Username, test.want)
			}
		})
	}
}

// Claims are what people type: they cannot break a log, a page, or a header.
func TestTextIsBounded(t *testing.T) {
	p := newToy(t)
	p.claims = func(m map[string]any) {
		m["name"] = " Jane\x00\r\n\u202eDoe\u2028" + strings.Repeat("é", 500)
		m["email"], m["locale"], m["picture"], m["acr"] = "a@b\nc", "en<script>", "javascript:alert(1)", strings.Repeat("a", 256)
		m["amr"] = slices.Repeat([]any{"pwd"}, 100)
	}
	got := finish(t, p, nil, false)
	if want := "JaneDoe" + strings.Repeat("é", 121); got.Name != want {
		t.Errorf("name %q", got.Name)
	}
	if got.Email != "" || got.EmailVerified || got.Locale != "" || got.Picture != "" || got.ACR != "" || len(got.AMR) != 16 {
		t.Errorf("got %+v", got)
	}
}

// The string "true" is a yes, the string "false" is none.
func TestEmailVerifiedAsText(t *testing.T) {
	for value, want := range map[any]bool{"true": true, "false": false, "TRUE": false, true: true, false: false, "": false} {
		p := newToy(t)
		p.claims = set("email_verified", value)
		if got := finish(t, p, nil, false); got.EmailVerified != want {
			t.Errorf("%#v: got %t", value, got.EmailVerified)
		}
	}
}

func TestEmailAddress(t *testing.T) {
	for text, want := range map[string]string{
		"jane@example.com": "jane@example.com", "jane": "", "@example.com": "", "jane@": "", "a@b@example.com": "",
		"Jane <jane@example.com>": "", "a@b.example,c@d.example": "", "jane@exa\u200bmple.com": "",
		strings.Repeat("a", 250) + "@b.example": "",
	} {
		if got := emailAddress(text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestPictureURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://example.com/j.png": "https://example.com/j.png", "http://example.com/j.png": "", "//example.com/j.png": "",
		"data:image/png;base64,AA": "", "https://a:b@example.com/": "", "https://example.com/" + strings.Repeat("a", 2048): "",
	} {
		if got := pictureURL(text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

// A claim that the configuration maps is asked for where the ID token has none.
func TestUserInfoAddsMapped(t *testing.T) {
	p := newToy(t)
	p.userinfo = set("surname", "Doe")
	if got := finish(t, p, func(c *Config) { c.Claims.FamilyName = "surname" }, false); got.FamilyName != "Doe" {
		t.Errorf("got %+v", got)
	}
}
