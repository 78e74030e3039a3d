package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/timingtest"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// TestTiming measures for some minutes.
func TestTiming(t *testing.T) {
	if os.Getenv("OAUTH_TEST_ALL") == "" {
		return // ./xcaddy.sh test --all
	}
	f := newFixture(t, withPeople, func(c *Config) { c.Logger = nil })

	// How much of a guess is right must not show.
	t.Run("client secret", func(t *testing.T) {
		guess := func(right int) func() string {
			return func() string {
				return svcSecret[:right] + record.RandomText(len(svcSecret))[:len(svcSecret)-right-1] + "~"
			}
		}
		timingtest.Check(t, 100_000, guess(len(svcSecret)-5), guess(0), func(secret string) {
			if _, err := f.verifyCredentials(t.Context(), credentials{clientSecretBasic, "svc", secret}); err == nil {
				t.Error("a wrong secret is taken")
			}
		})
	})

	// Refresh tokens, codes and sessions are looked up by a hash, so that the key of
	// a near miss is as far away as any. Whether a whole token is known is no secret:
	// who asks that has it.
	t.Run("token look-up", func(t *testing.T) {
		v := f.signedIn(f.person(fixtureProfile))
		known := v.offline().RefreshToken
		bits, err := base64.RawURLEncoding.DecodeString(known)
		must(t, err)
		guess := func(right int) func() string {
			return func() string {
				guessed := slices.Clone(bits)
				for n := range guessed {
					if other := byte(1 + rand.IntN(255)); n >= right { // as much work for both
						guessed[n] ^= other
					}
				}
				return base64.RawURLEncoding.EncodeToString(guessed)
			}
		}
		const made = 6 // bytes of a handle that are not random
		timingtest.Check(t, 100_000, guess(len(bits)-8), guess(made), func(token string) {
			key, _ := record.HandleKey(fixtureURL, token)
			_ = f.store.View(t.Context(), func(tx storage.Tx) error {
				if _, err := tx.Get(kindRefreshToken, key); err == nil {
					t.Error("a token that nobody was given is found")
				}
				return nil
			})
		})
	})

	// A name that somebody has takes as long as one that nobody has, because both
	// cost one hash. That is slow, so there are fewer samples; package users has more
	// of them, with cheap hashes. Each has an account and an address of its own, so
	// that no attempt is put off.
	t.Run("user", func(t *testing.T) {
		const samples = 300
		f.personWithPassword(users.User{Username: "somebody"}, alicePassword)
		for n := range 3*2*samples + 1 {
			f.person(users.User{Username: fmt.Sprint("known", n)})
		}
		f.shareHash()
		asked, tried := 0, 0
		name := func(prefix string) func() string {
			return func() string { asked++; return fmt.Sprint(prefix, asked) }
		}
		timingtest.Check(t, samples, name("known"), name("nobody"), func(name string) {
			tried++
			address := fmt.Sprintf("10.0.%d.%d", tried/250, tried%250)
			if _, err := f.realm.users.Authenticate(t.Context(), name, "not the password", address); !errors.Is(err, users.ErrWrongPassword) {
				t.Errorf("%s: %v", name, err)
			}
		})
	})

	// An attempt that is put off costs no hash in whose noise a name could hide, and
	// anybody may make as many as they like.
	t.Run("user put off", func(t *testing.T) {
		const people = 100
		for n := range people {
			f.person(users.User{Username: fmt.Sprintf("somebody%03d", n), Name: "Somebody Else", Email: "somebody@mail.example", EmailVerified: true})
		}
		f.shareHash()
		v := f.visitor()
		login := v.authorize(authorization()).form(pages.ActionLogin)
		login.fields.Set(pages.FieldAction, pages.ActionLogin)
		try := func(name string) int {
			login.fields.Set(pages.FieldUsername, name)
			login.fields.Set(pages.FieldPassword, "not the password")
			w := httptest.NewRecorder()
			f.ServeHTTP(w, v.request(http.MethodPost, "/login", login.fields.Encode()))
			return w.Code
		}
		for n := 0; try(fmt.Sprint("whoever", n)) != http.StatusTooManyRequests; n++ {
		}
		name := func(format string) func() string {
			asked := 0
			return func() string { asked++; return fmt.Sprintf(format, asked%people) }
		}
		const allowed = 4 * time.Microsecond // a hundredth of all that the answer takes
		timingtest.CheckWithin(t, allowed, 20_000, name("somebody%03d"), name("no1there%03d"), func(name string) {
			// The address has one attempt more each 20 seconds.
			if status := try(name); status != http.StatusTooManyRequests && status != http.StatusUnauthorized {
				t.Errorf("%s: status %d", name, status)
			}
		})
	})
}

// shareHash gives everybody the password that one person has, which costs no hash.
func (f *fixture) shareHash() {
	f.t.Helper()
	must(f.t, f.store.Update(f.t.Context(), func(tx storage.Tx) error {
		people, hash := make(map[string]map[string]any), any(nil)
		err := tx.List("user", "", func(key string, value []byte) error {
			var person map[string]any
			if err := json.Unmarshal(value, &person); err != nil {
				return err
			}
			if people[key] = person; person["password"] != nil {
				hash = person["password"]
			}
			return nil
		})
		for key, person := range people {
			person["password"] = hash
			err = errors.Join(err, record.Put(tx, "user", key, person, time.Time{}))
		}
		return err
	}))
}
