package pages

import (
	"fmt"
	"math"
	"strconv"
)

// defaultAccent is the colour of a server whose operator chose none.
const defaultAccent = "#2756c4"

// The surfaces of style.css that the accent must stand out from: a test holds the two files together.
const (
	lightSurface = "#f4f5f8"
	darkSurface  = "#1c1f27"
	darkInk      = "#0c0e12"
)

// minContrast is what text must have (WCAG 2.2, 1.4.3).
const minContrast = 4.5

type color struct{ r, g, b float64 } // sRGB, 0 to 1

func parseColor(s string) (color, error) {
	if len(s) == 7 && s[0] == '#' {
		if n, err := strconv.ParseUint(s[1:], 16, 24); err == nil {
			return color{float64(n>>16) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}, nil
		}
	}
	return color{}, fmt.Errorf("pages: accent %q: must be a colour of the form #rrggbb", s)
}

func (c color) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c.r*255)), int(math.Round(c.g*255)), int(math.Round(c.b*255)))
}

// luminance is the relative luminance of WCAG 2.2.
func (c color) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}

func contrast(a, b color) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func (c color) mix(with color, share float64) color {
	blend := func(a, b float64) float64 { return a + (b-a)*share }
	return color{blend(c.r, with.r), blend(c.g, with.g), blend(c.b, with.b)}
}

// readable moves c towards black or white until it can be read on a surface.
func (c color) readable(on, towards color) color {
	for step := range 100 {
		// The step is rounded as it will be printed, so that the promise holds for what browsers get.
		if mixed, _ := parseColor(c.mix(towards, float64(step)/100).String()); contrast(mixed, on) >= minContrast+0.1 {
			return mixed
		}
	}
	return towards
}

// accentStylesheet is the custom properties that hang on the operator's colour, for both schemes.
func accentStylesheet(accent color) string {
	white, black := color{1, 1, 1}, color{}
	lightOn, _ := parseColor(lightSurface)
	darkOn, _ := parseColor(darkSurface)
	light := accent.readable(lightOn, black)
	dark := accent.readable(darkOn, white)
	return fmt.Sprintf(":root{--accent:%s;--accent-strong:%s;--on-accent:#ffffff}\n"+
		"@media (prefers-color-scheme:dark){:root{--accent:%s;--accent-strong:%s;--on-accent:%s}}\n"+
		"@media print{:root{--accent:#000000;--accent-strong:#000000;--on-accent:#ffffff}}\n",
		light, light.mix(black, 0.18), dark, dark.mix(white, 0.22), darkInk)
}
