package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
)

// TestAdminLists: a list comes in parts, one after the other, and a part of
// nothing is refused.
func TestAdminLists(t *testing.T) {
	p := start(t, usualCaddyfile, "127.0.0.1:9")
	want := []string{"app"}
	for n := range 4 {
		id := fmt.Sprintf("n%d", n)
		p.addClient(id, "api:read")
		want = append(want, id)
	}
	type part struct {
		Clients []clients.Metadata `json:"clients"`
		Next    string             `json:"next"`
	}
	read := func(query url.Values) (found part) {
		t.Helper()
		a := p.adminCall("GET", "/oauth/clients?"+query.Encode(), nil)
		a.want(t, 200)
		if err := json.Unmarshal([]byte(a.body), &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		query := url.Values{"limit": {fmt.Sprint(limit)}, "issuer": {p.url}}
		for {
			found := read(query)
			for _, client := range found.Clients {
				got = append(got, client.ID)
			}
			if found.Next == "" {
				break
			}
			if len(found.Clients) != limit {
				t.Errorf("limit %d: a part of %d that is not the last", limit, len(found.Clients))
			}
			query.Set("after", found.Next)
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	cursor := read(url.Values{"limit": {"1"}}).Next
	for _, test := range []struct{ path, says string }{
		{"clients?limit=0", "want 1 to 1000"},
		{"clients?limit=1001", "want 1 to 1000"},
		{"clients?limit=-1", "want 1 to 1000"},
		{"clients?limit=", "want 1 to 1000"},
		{"clients?limit=1e3", "want 1 to 1000"},
		{"clients?after=", "want the next of the answer before"},
		{"clients?after=n1", "want the next of the answer before"},
		{"clients?after=" + cursor + "=", "want the next of the answer before"},
		{"users?after=" + cursor, "from the same list"},
		{"keys?limit=1", `no query parameter \"limit\"`},
		{"clients/app?after=" + cursor, `no query parameter \"after\"`},
	} {
		a := p.adminCall("GET", "/oauth/"+test.path, nil)
		if a.StatusCode != 400 {
			t.Errorf("%s: status %d", test.path, a.StatusCode)
		}
		contains(t, a.body, test.says)
	}
}

// TestCommandLists: a command asks for parts as large as can be, again until nothing
// is left, and makes one list of them.
func TestCommandLists(t *testing.T) {
	var asked []string
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		fmt.Fprint(w, []string{
			`{"users": [{"sub": "a"}, {"sub": "b"}], "next": "b&="}`, `{"next": "c", "users": [{"sub": "c"}]}`, `{"users": []}`, `{"users": {}}`,
		}[len(asked)-1])
	}))
	defer endpoint.Close()
	c := &command{address: strings.TrimPrefix(endpoint.URL, "http://"), issuer: "https://i.test"}
	all, err := c.list("users", "users")
	if err != nil || string(all) != `[{"sub":"a"},{"sub":"b"},{"sub":"c"}]` {
		t.Errorf("%s, %v", all, err)
	}
	const issuer = "&issuer=https%3A%2F%2Fi.test"
	want := []string{"/oauth/users?limit=1000" + issuer, "/oauth/users?after=b%26%3D&limit=1000" + issuer, "/oauth/users?after=c&limit=1000" + issuer}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for %v", asked)
	}
	if all, err := c.list("users", "users"); err == nil {
		t.Errorf("no list passes for one: %s", all)
	}
}
