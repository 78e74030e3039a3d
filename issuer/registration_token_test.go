package issuer

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// initial makes an initial access token.
func (f *fixture) initial(uses int) (token, id string) {
	f.t.Helper()
	token, made, err := f.CreateRegistrationToken(f.t.Context(), uses, time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return token, made.ID
}

// RFC 7591 §3: an initial access token is a bearer token, good as often as it
// says and no more; a registration that is refused uses none of it.
func TestInitialAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, withRegistration(RegistrationByToken))
		once, _ := f.initial(1)
		expect(t, f.postMetadata(`{"redirect_uris":["javascript:1"]}`, withBearer(once)), 400, oauth.InvalidRedirectURI)
		f.selfRegistered(goodMetadata, withBearer(once))
		expect(t, f.postMetadata(goodMetadata, withBearer(once)), 401, oauth.InvalidToken)

		thrice, id := f.initial(3)
		for left := 2; left >= 0; left-- {
			f.restart()
			f.selfRegistered(goodMetadata, withBearer(thrice))
			all, err := f.RegistrationTokens(t.Context())
			if err != nil || left > 0 && (len(all) != 1 || all[0].ID != id || all[0].Uses != left) || left == 0 && len(all) != 0 {
				t.Errorf("%d left: %v, %v", left, all, err)
			}
		}
		expect(t, f.postMetadata(goodMetadata, withBearer(thrice)), 401, oauth.InvalidToken)

		expired, _ := f.initial(1)
		time.Sleep(time.Hour + time.Second)
		expect(t, f.postMetadata(goodMetadata, withBearer(expired)), 401, oauth.InvalidToken)

		removed, id := f.initial(1)
		if err := f.RemoveRegistrationToken(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		expect(t, f.postMetadata(goodMetadata, withBearer(removed)), 401, oauth.InvalidToken)
		if err := f.RemoveRegistrationToken(t.Context(), id); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		f.unknown(once, thrice, expired, removed)
	})
}

// What is no initial access token of this issuer is refused before the request
// is looked at, and with a challenge (RFC 6750 §3).
func TestInitialAccessTokenRefused(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationByToken))
	good, _ := f.initial(1)
	elsewhere := newFixture(t, withRegistration(RegistrationByToken), func(c *Config) { c.URL = "https://other.test" })
	stranger, _ := elsewhere.initial(1)
	access := f.issue(asSvc, "")
	for name, change := range map[string]fixtureRequest{
		"none":                      func(*http.Request) {},
		"empty":                     withHeader("Authorization", "Bearer "),
		"without its scheme":        withHeader("Authorization", good),
		"in Basic":                  withBasic("svc", svcSecret),
		"forged":                    withBearer(record.NewHandle()),
		"cut":                       withBearer(good[:len(good)-1]),
		"padded":                    withBearer(good + "="),
		"changed":                   withBearer(strings.Repeat("A", len(good))),
		"another issuer's":          withBearer(stranger),
		"an access token":           withBearer(access),
		"in the query, not allowed": func(r *http.Request) { r.URL.RawQuery = "access_token=" + good },
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []string{goodMetadata, "not JSON"} {
				w := f.postMetadata(body, change)
				expect(t, w, 401, oauth.InvalidToken)
				if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("challenge %q", w.Header().Get("WWW-Authenticate"))
				}
			}
		})
	}
	expect(t, f.postMetadata(goodMetadata, withBearer(good), withBearer(good)), 400, oauth.InvalidRequest)
	c := f.selfRegistered(goodMetadata, withBearer(good))
	expect(t, f.postMetadata(goodMetadata, withBearer(c.AccessToken)), 401, oauth.InvalidToken) // RFC 7592 §1.2: another kind
	expect(t, f.get("/register/"+c.ID, withBearer(good)), 401, oauth.InvalidToken)
}

// Of several registrations with a single use, one gets it.
func TestInitialAccessTokenRace(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationByToken))
	token, _ := f.initial(1)
	const racers = 6
	f.store.hold(racers)
	codes := make([]int, racers)
	var wait sync.WaitGroup
	for n := range racers {
		wait.Go(func() { codes[n] = f.postMetadata(goodMetadata, withBearer(token)).Code })
	}
	wait.Wait()
	won, refused := 0, 0
	for _, code := range codes {
		switch code {
		case 201:
			won++
		case 401:
			refused++
		}
	}
	if won != 1 || refused != racers-1 {
		t.Errorf("answers %v, want one 201 and %d 401", codes, racers-1)
	}
}

// A token is made within bounds, and only where it opens something.
func TestCreateRegistrationTokenRefuses(t *testing.T) {
	f := newFixture(t, withRegistration(RegistrationByToken))
	for _, c := range []struct {
		uses     int
		lifetime time.Duration
	}{{0, time.Hour}, {-1, time.Hour}, {1001, time.Hour}, {1, 0}, {1, -time.Hour}, {1, 367 * 24 * time.Hour}} {
		if token, _, err := f.CreateRegistrationToken(t.Context(), c.uses, c.lifetime); err == nil || token != "" {
			t.Errorf("%d uses in %s are accepted", c.uses, c.lifetime)
		}
	}
	for _, mode := range []RegistrationMode{RegistrationOff, RegistrationOpen} {
		f := newFixture(t, withRegistration(mode))
		if _, _, err := f.CreateRegistrationToken(t.Context(), 1, time.Hour); !errors.Is(err, ErrRegistrationToken) {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
	f.store.fail(storage.ErrBusy)
	if token, _, err := f.CreateRegistrationToken(t.Context(), 1, time.Hour); !errors.Is(err, storage.ErrBusy) || token != "" {
		t.Errorf("without a storage: %v", err)
	}
}
