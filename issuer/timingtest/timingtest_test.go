package timingtest

import (
	"math/rand/v2"
	"testing"
)

// TestWelch: the harness finds a difference that is there, and none where there is
// none or one that is allowed, whatever outliers there are.
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
	for _, c := range []struct {
		shift, allowed float64
		found          bool
	}{
		{0, 0, false}, {10, 0, true}, {-10, 0, true}, {10, 10, false}, {-10, 10, false}, {20, 10, true}, {-20, 10, true},
	} {
		if worst := worstT([2][]float64{draw(0), draw(c.shift)}, c.allowed); (worst >= tooDifferent) != c.found {
			t.Errorf("means of a deviation of 100 differ by %v where %v is allowed: |t| = %.1f", c.shift, c.allowed, worst)
		}
	}
}
