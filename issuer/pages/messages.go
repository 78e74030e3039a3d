package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed messages/*.json
var messageFiles embed.FS

// Text is a text of the operator's, by language tag; the entry "" stands for every language that has none of its own.
type Text map[string]string

// in returns the text for a language: its own, else the one for all, else English, else whichever sorts first.
func (t Text) in(lang string) string {
	for _, tag := range []string{lang, "", "en"} {
		if t[tag] != "" {
			return t[tag]
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(t)) {
		return t[tag]
	}
	return ""
}

// catalog is every string of the pages in one language. A text may hold placeholders, {name}.
type catalog struct {
	lang  string
	texts map[string]string
}

func loadCatalog(lang string) (catalog, error) {
	data, err := messageFiles.ReadFile("messages/" + lang + ".json")
	if err != nil {
		return catalog{}, fmt.Errorf("pages: messages: %w", err)
	}
	c := catalog{lang: lang}
	if err := json.Unmarshal(data, &c.texts); err != nil {
		return catalog{}, fmt.Errorf("pages: messages/%s.json: %w", lang, err)
	}
	return c, nil
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// part is a stretch of a message: fixed text, or a value that stood for a placeholder.
type part struct {
	Text  string
	Value bool
}

// parts fills a message, keeping values apart from the text around them, so that a template can mark them up (and isolate their
// writing direction) without any string being trusted as markup. Pairs are placeholder, value, placeholder, value...
func (c catalog) parts(key string, pairs ...any) ([]part, error) {
	text, ok := c.texts[key]
	if !ok {
		return nil, fmt.Errorf("no message %q", key)
	}
	values, err := named(pairs)
	if err != nil {
		return nil, fmt.Errorf("message %q: %w", key, err)
	}
	var parts []part
	end := 0
	for _, at := range placeholder.FindAllStringIndex(text, -1) {
		value, ok := values[text[at[0]+1:at[1]-1]]
		if !ok {
			return nil, fmt.Errorf("message %q: no value for %s", key, text[at[0]:at[1]])
		}
		parts = append(parts, part{Text: text[end:at[0]]}, part{Text: value, Value: true})
		end = at[1]
	}
	return append(parts, part{Text: text[end:]}), nil
}

func named(pairs []any) (map[string]string, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a placeholder has no value")
	}
	values := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = fmt.Sprint(pairs[i+1])
	}
	return values, nil
}

// message fills a message as plain text.
func (c catalog) message(key string, pairs ...any) (string, error) {
	parts, err := c.parts(key, pairs...)
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String(), err
}

// count fills the form of a message that a number asks for: key.one or key.other, with the number as {n}.
func (c catalog) count(key string, n int) (string, error) {
	form := ".other"
	if n == 1 || (c.lang == "fr" && n == 0) { // CLDR: zero is singular in French
		form = ".one"
	}
	return c.message(key+form, "n", strconv.Itoa(n))
}

// duration says how long something lasts in the largest unit that is exact, or in two where none is.
func (c catalog) duration(d time.Duration) (string, error) {
	units := []struct {
		key  string
		size time.Duration
	}{
		{"duration.days", 24 * time.Hour}, {"duration.hours", time.Hour},
		{"duration.minutes", time.Minute}, {"duration.seconds", time.Second},
	}
	d = max(d.Round(time.Second), time.Second)
	for i, unit := range units {
		if d < unit.size {
			continue
		}
		text, err := c.count(unit.key, int(d/unit.size))
		rest := d % unit.size
		if err != nil || i+1 == len(units) || rest < units[i+1].size {
			return text, err
		}
		smaller, err := c.count(units[i+1].key, int(rest/units[i+1].size))
		return text + " " + smaller, err
	}
	return "", fmt.Errorf("duration %v", d)
}

// date says when something was or will be, in UTC: the server does not know where the reader is.
func (c catalog) date(t time.Time) (string, error) {
	t = t.UTC()
	month, err := c.message("month." + strconv.Itoa(int(t.Month())))
	if err != nil {
		return "", err
	}
	day := strconv.Itoa(t.Day())
	if t.Day() == 1 {
		if day, err = c.message("date.first"); err != nil {
			return "", err
		}
	}
	return c.message("date.full", "day", day, "month", month, "year", t.Year(), "time", t.Format("15:04"))
}
