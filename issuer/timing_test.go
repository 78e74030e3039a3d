package issuer

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

// timeClasses measures both classes, n samples of each.
func timeClasses(n int, class [2]func(k int)) (samples [2][]float64) {
	for k := range n {
		order := [2]int{0, 1}
		if rand.IntN(2) == 1 {
			order = [2]int{1, 0}
		}
		for _, c := range order {
			begun := time.Now()
			class[c](k)
			samples[c] = append(samples[c], float64(time.Since(begun)))
		}
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
func checkTiming(t *testing.T, n int, first, second func(k int)) {
	t.Helper()
	for range 3 {
		worst := worstT(timeClasses(n, [2]func(int){first, second}))
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
		try := func(secret string) func(int) {
			return func(int) {
				if _, err := f.verifyCredentials(t.Context(), credentials{clientSecretBasic, "svc", secret}); err == nil {
					t.Error("a wrong secret is taken")
				}
			}
		}
		checkTiming(t, 100_000, try(svcSecret[:len(svcSecret)-1]+"~"), try(strings.Repeat("~", len(svcSecret))))
	})

	// Refresh tokens, codes and sessions are looked up by a hash, so that the key of
	// a near miss is as far away as any. Whether a whole token is known is no secret:
	// who asks that has it.
	t.Run("token look-up", func(t *testing.T) {
		v := f.signedIn(f.person(fixtureProfile))
		known := v.offline().RefreshToken
		bits, err := base64.RawURLEncoding.DecodeString(known)
		must(t, err)
		near, far := slices.Clone(bits), slices.Clone(bits)
		near[len(near)-1] ^= 1
		for n := 3; n < len(far); n++ {
			far[n] ^= byte(1 + rand.IntN(255))
		}
		try := func(b []byte) func(int) {
			token := base64.RawURLEncoding.EncodeToString(b)
			return func(int) {
				key, _ := record.HandleKey(fixtureURL, token)
				_ = f.store.View(t.Context(), func(tx storage.Tx) error {
					if _, err := tx.Get(kindRefreshToken, key); err == nil {
						t.Error("a token that nobody was given is found")
					}
					return nil
				})
			}
		}
		checkTiming(t, 100_000, try(near), try(far))
	})

	// A name that somebody has takes as long as one that nobody has, because both
	// cost one hash. That is slow, so there are fewer samples. Each has an account
	// and an address of its own, so that no attempt is put off.
	t.Run("user", func(t *testing.T) {
		const samples = 300
		with := f.personWithPassword(users.User{Username: "somebody"}, alicePassword)
		for n := range 3 * samples {
			f.change(f.person(users.User{Username: fmt.Sprint("known", n)}), func(u *users.User) { u.Password = with.Password })
		}
		used := [2]int{}
		try := func(class int, name string) func(int) {
			return func(int) {
				used[class]++
				address := fmt.Sprintf("10.%d.%d.%d", class, used[class]/250, used[class]%250)
				if _, err := f.realm.users.Authenticate(t.Context(), fmt.Sprint(name, used[class]-1), "not the password", address); err != users.ErrWrongPassword {
					t.Errorf("attempt %d: %v", used[class], err)
				}
			}
		}
		checkTiming(t, samples, try(0, "known"), try(1, "nobody"))
	})
}
