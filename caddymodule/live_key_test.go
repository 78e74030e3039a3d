package caddymodule

import (
	"strings"
	"testing"
	"time"
)

// TestLiveStreamsOfRevokedKey: what a token opened ends with the key that signed
// it. Whoever has stolen the key makes tokens that live as long as they like.
func TestLiveStreamsOfRevokedKey(t *testing.T) {
	s := startLive(t, "", "", "")
	begin := time.Now()
	stolen := s.forge("at+jwt", map[string]any{"exp": begin.Add(time.Hour).Unix()})
	ending := s.openAll(t, begin, func(string) string { return stolen })
	if t.Failed() {
		return
	}
	if err := s.load(s.text); err != nil { // as it is for whoever came before a reload
		t.Fatal(err)
	}
	s.adminCall("POST", "/oauth/keys/"+keyIDOf(t, stolen)+"/revoke", struct{}{}).want(t, 200)
	at := time.Since(begin)
	lasting := s.openAll(t, begin, func(string) string { return s.appToken() })
	eventually(t, "what the stolen key opened has ended", func() bool { return ending.all() == len(streams) })
	for _, kind := range streams {
		if after, _ := ending.of(kind.name); after > at+time.Second {
			t.Errorf("%s: ends %v after the key was revoked, want a second at most", kind.name, after-at)
		}
		if after, ended := lasting.of(kind.name); ended {
			t.Errorf("%s: ends after %v, and its token is of the key that signs now", kind.name, after)
		}
	}
}

// TestLiveStreamsOfRemovedClient: what a client's token opened ends when another
// configuration does not declare the client any more.
func TestLiveStreamsOfRemovedClient(t *testing.T) {
	s := startLive(t, "", "", "")
	begin := time.Now()
	ending := s.openAll(t, begin, func(string) string { return s.appToken() })
	if t.Failed() {
		return
	}
	if err := s.load(strings.Replace(s.text, "client app {", "client another {", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what its tokens opened has ended", func() bool { return ending.all() == len(streams) })
}
