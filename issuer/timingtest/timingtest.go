// Package timingtest asks whether the time of an answer tells what the answer
// hides. Two classes of input are sent in random order, and Welch's t-test asks
// whether their times have different means (O. Reparaz, J. Balasch, I.
// Verbauwhede: "Dude, is my code constant time?", 2017). It is asked of all samples
// and of those below each of a hundred percentiles, because whatever else the
// machine does shows in the slowest.
package timingtest

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// tooDifferent is the |t| beyond which two means are taken to differ.
const tooDifferent = 4.5

// Check sends n inputs of each class to run, and fails if the times differ in each
// of three measurements: what the code does shows every time, what the machine does
// not.
func Check(t *testing.T, n int, first, second func() string, run func(string)) {
	t.Helper()
	CheckWithin(t, 0, n, first, second, run)
}

// CheckWithin is Check for times that differ, by less than allowed in the mean. What
// is allowed is to be far below what else takes time where an answer is asked for.
func CheckWithin(t *testing.T, allowed time.Duration, n int, first, second func() string, run func(string)) {
	t.Helper()
	for range 3 {
		samples := measure(n, [2]func() string{first, second}, run)
		worst := worstT(samples, float64(allowed))
		t.Logf("|t| = %.1f of %d samples each; the medians are %v and %v", worst, n, median(samples[0]), median(samples[1]))
		if worst < tooDifferent {
			return
		}
	}
	t.Errorf("the time tells the two apart (|t| < %.1f is wanted)", tooDifferent)
}

func median(samples []float64) time.Duration {
	return time.Duration(slices.Sorted(slices.Values(samples))[len(samples)/2])
}

// measure takes the time of what run does with the inputs of both classes, n of each.
// All inputs are made before, each anew: what was done just before the measured
// time is the same for both then. An input that stays at one address is a little
// faster or slower for that alone, and so is one of few that come again and again.
func measure(n int, input [2]func() string, run func(string)) (samples [2][]float64) {
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
func worstT(samples [2][]float64, allowed float64) (worst float64) {
	all := slices.Sorted(slices.Values(slices.Concat(samples[0], samples[1])))
	worst = welch(samples, allowed)
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
			worst = max(worst, welch(cropped, allowed))
		}
	}
	return worst
}

// welch is the |t| of Welch's test for means that differ by more than allowed.
func welch(samples [2][]float64, allowed float64) float64 {
	var mean, variance [2]float64
	for c, class := range samples {
		for _, s := range class {
			mean[c] += s / float64(len(class))
		}
		for _, s := range class {
			variance[c] += (s - mean[c]) * (s - mean[c]) / float64(len(class)-1)
		}
	}
	beyond := max(0, math.Abs(mean[0]-mean[1])-allowed)
	if beyond == 0 {
		return 0
	}
	return beyond / math.Sqrt(variance[0]/float64(len(samples[0]))+variance[1]/float64(len(samples[1])))
}
