package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/users"
)

// Does the time of an answer tell what the answer hides? Two classes of input are
// sent in random order, and Welch's t-test asks whether their times have different
// means (O. Reparaz, J. Balasch, I. Verbauwhede: "Dude, is my code constant
// time?", 2017). It is asked of all samples and of those below each of a hundred
// percentiles, because whatever else the machine does shows in the slowest.

// tooDifferent is the |t| beyond which two means are taken to differ.
const tooDifferent = 4.5

// timeClasses measures what run does with the inputs of both classes, n of each.
// All inputs are made before, each anew: what was done just before the measured
// time is the same for both then. An input that stays at one address is a little
// faster or slower for that alone, and so is one of few that come again and again.
func timeClasses(n int, input [2]func() string, run func(string)) (samples [2][]float64) {
	type sample struct {
		class int
		sent  string
	}
	var all []sample
	for range n {
		all = append(all, sample{0, input[0]()}, sample{1, input[1]()})
	}
	rand.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
	for n := range all {
		all[n].sent = strings.Clone(all[n].sent) // in the order in which they are sent
	}
	for class := range samples {
		samples[class] = make([]float64, 0, n)
	}
	runtime.GC()
	for _, s := range all {
		begun := time.Now()
		run(s.sent)
		samples[s.class] = append(samples[s.class], float64(time.Since(begun)))
	}
	return samples
}

// worstT is the largest |t| of all croppings.
func worstT(samples [2][]float64) (worst float64) {
	all := slices.Sorted(slices.Values(slices.Concat(samples[0], samples[1])))
	worst = math.Abs(welch(samples[0], samples[1]))
	for n := 1; n <= 100; n++ {
		// As dudect spaces them: closer together towards the slow end.
		limit := all[int(float64(len(all)-1)*(1-math.Pow(0.5, 10*float64(n)/100)))]
		var cropped [2][]float64
		for c := range samples {
			for _, sample := range samples[c] {
				if sample < limit {
					cropped[c] = append(cropped[c], sample)
				}
			}
		}
		if min(len(cropped[0]), len(cropped[1])) >= len(all)/20 {
			worst = max(worst, math.Abs(welch(cropped[0], cropped[1])))
		}
	}
	return worst
}

// welch is the t of Welch's test.
func welch(a, b []float64) float64 {
	moments := func(samples []float64) (mean, variance float64) {
		for _, s := range samples {
			mean += s / float64(len(samples))
		}
		for _, s := range samples {
			variance += (s - mean) * (s - mean) / float64(len(samples)-1)
		}
		return mean, variance
	}
	meanA, varianceA := moments(a)
	meanB, varianceB := moments(b)
	if varianceA == 0 && varianceB == 0 {
		return 0
	}
	return (meanA - meanB) / math.Sqrt(varianceA/float64(len(a))+varianceB/float64(len(b)))
}

// TestWelch: the harness finds a difference that is there, and none where there is
// none, whatever outliers there are.
func TestWelch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(shift float64) (samples []float64) {
		for n := range 20_000 {
			sample := 1000 + 100*random.NormFloat64() + shift
			if n%1000 == 0 {
				sample *= 50
			}
			samples = append(samples, sample)
		}
		return samples
	}
	if worst := worstT([2][]float64{draw(0), draw(0)}); worst >= tooDifferent {
		t.Errorf("|t| = %.1f for two samples of one distribution", worst)
	}
	if worst := worstT([2][]float64{draw(0), draw(10)}); worst < tooDifferent {
		t.Errorf("|t| = %.1f for means that differ by a tenth of the deviation", worst)
	}
}

// checkTiming fails if the classes differ in each of three measurements: what the
// code does shows every time, what the machine does not.
func checkTiming(t *testing.T, n int, first, second func() string, run func(string)) {
	t.Helper()
	for range 3 {
		worst := worstT(timeClasses(n, [2]func() string{first, second}, run))
		t.Logf("|t| = %.1f of %d samples each", worst, n)
		if worst < tooDifferent {
			return
		}
	}
	t.Errorf("the time tells the two apart (|t| < %.1f is wanted)", tooDifferent)
}

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
		checkTiming(t, 100_000, guess(len(svcSecret)-5), guess(0), func(secret string) {
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
		checkTiming(t, 100_000, guess(len(bits)-8), guess(made), func(token string) {
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
	// cost one hash. That is slow, so there are fewer samples. Each has an account
	// and an address of its own, so that no attempt is put off.
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
		checkTiming(t, samples, name("known"), name("nobody"), func(name string) {
			tried++
			address := fmt.Sprintf("10.0.%d.%d", tried/250, tried%250)
			if _, err := f.realm.users.Authenticate(t.Context(), name, "not the password", address); !errors.Is(err, users.ErrWrongPassword) {
				t.Errorf("%s: %v", name, err)
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
