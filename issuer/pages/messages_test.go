package pages

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func catalogs(t *testing.T) map[string]catalog {
	t.Helper()
	all := make(map[string]catalog)
	for _, lang := range languages {
		c, err := loadCatalog(lang)
		if err != nil {
			t.Fatal(err)
		}
		all[lang] = c
	}
	return all
}

func TestMessagesAgree(t *testing.T) {
	all := catalogs(t)
	for lang, c := range all {
		for key, text := range all["en"].texts {
			if strings.TrimSpace(c.texts[key]) == "" {
				t.Errorf("%s: %q is missing", lang, key)
			}
			want, got := placeholder.FindAllString(text, -1), placeholder.FindAllString(c.texts[key], -1)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("%s: %q has the placeholders %q, English has %q", lang, key, got, want)
			}
		}
		for key, text := range c.texts {
			if all["en"].texts[key] == "" {
				t.Errorf("%s: %q has no English", lang, key)
			}
			if strings.Contains(text, "'") || strings.ContainsAny(text, "<>") {
				t.Errorf("%s: %q has a straight apostrophe or markup: %s", lang, key, text)
			}
		}
	}
	for key, text := range all["fr"].texts {
		if strings.Contains(text, " :") || strings.Contains(text, " ;") || strings.Contains(text, " ?") || strings.Contains(text, " !") {
			t.Errorf("fr: %q breaks before its punctuation: %s", key, text)
		}
	}
}

// Every message that a template names exists, and every message is named: by a template, or by the Go code through a prefix.
func TestMessagesUsed(t *testing.T) {
	named := regexp.MustCompile(`\b(?:t|n|parts) "([^"]+)"`)
	prefixed := regexp.MustCompile(`print "([a-z-]+\.)"`)
	used, prefixes := make(map[string]bool), []string{"scope.", "grant.", "duration.", "date.", "month."}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	texts := catalogs(t)["en"].texts
	for _, file := range files {
		text, err := templateFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(text, -1) {
			used[string(m[1])] = true
			if texts[string(m[1])] == "" {
				t.Errorf("%s: no message %q", file, m[1])
			}
		}
		for _, m := range prefixed.FindAllSubmatch(text, -1) {
			prefixes = append(prefixes, string(m[1]))
		}
	}
	for key := range maps.Keys(texts) {
		if !used[key] && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("nothing says %q", key)
		}
	}
}

func TestDurationAndDate(t *testing.T) {
	all := catalogs(t)
	for _, tt := range []struct {
		d      time.Duration
		en, fr string
	}{
		{0, "1 second", "1 seconde"},
		{30 * time.Second, "30 seconds", "30 secondes"},
		{90 * time.Second, "1 minute 30 seconds", "1 minute 30 secondes"},
		{time.Hour, "1 hour", "1 heure"},
		{36 * time.Hour, "1 day 12 hours", "1 jour 12 heures"},
		{30 * 24 * time.Hour, "30 days", "30 jours"},
	} {
		for lang, want := range map[string]string{"en": tt.en, "fr": tt.fr} {
			if got, err := all[lang].duration(tt.d); got != want || err != nil {
				t.Errorf("%s: %v is %q (%v), want %q", lang, tt.d, got, err, want)
			}
		}
	}
	east := time.FixedZone("", 2*60*60)
	for lang, want := range map[string]string{"en": "1 August 2026 at 22:30\u00a0UTC", "fr": "1er août 2026 à 22:30\u00a0UTC"} {
		if got, err := all[lang].date(time.Date(2026, time.August, 2, 0, 30, 0, 0, east)); got != want || err != nil {
			t.Errorf("%s: %q (%v), want %q", lang, got, err, want)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text Text
		want string
	}{
		{nil, ""}, {Text{"fr": "oui", "en": "yes"}, "oui"}, {Text{"": "any", "en": "yes"}, "any"}, {Text{"en": "yes", "de": "ja"}, "yes"}, {Text{"de": "ja"}, "ja"},
	} {
		if got := tt.text.in("fr"); got != tt.want {
			t.Errorf("%v in French: %q, want %q", tt.text, got, tt.want)
		}
	}
}
