package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// languages are the tags that have a file in messages/, in the order of the switch.
var languages = []string{"en", "fr"}

// autonyms name each language in itself: that is what its readers look for.
var autonyms = map[string]string{"en": "English", "fr": "Français"}

var matcher = language.NewMatcher([]language.Tag{language.English, language.French})

const (
	languageCookie = "oauth_lang"

	// The longest list of languages that is read; browsers send less than a hundred bytes.
	maxLanguageList = 512
)

func isSupported(lang string) bool { return slices.Contains(languages, lang) }

// Language is the language that a request is answered in, "en" or "fr": the first that can be served of ui_locales (OpenID
// Connect Core §3.1.2.1; in the query, or in the form when the caller has parsed it), the cookie that the language switch
// sets, Accept-Language, and the operator's default.
func (p *Pages) Language(r *http.Request) string {
	if lang := requestedLanguage(r); lang != "" {
		return lang
	}
	if cookie, err := r.Cookie(languageCookie); err == nil && isSupported(cookie.Value) {
		return cookie.Value
	}
	if lang := match(strings.Join(r.Header.Values("Accept-Language"), ",")); lang != "" {
		return lang
	}
	return p.language
}

// requestedLanguage reads ui_locales, which lists language tags separated by spaces, the preferred first.
func requestedLanguage(r *http.Request) string {
	locales := r.URL.Query().Get("ui_locales")
	if locales == "" && r.PostForm != nil {
		locales = r.PostForm.Get("ui_locales")
	}
	return match(strings.Join(strings.Fields(locales), ","))
}

// match picks the best of a list in the form of Accept-Language; "" where none is understood, or the list is not one.
func match(list string) string {
	if list == "" || len(list) > maxLanguageList {
		return ""
	}
	tags, _, err := language.ParseAcceptLanguage(list)
	if err != nil || len(tags) == 0 {
		return ""
	}
	_, index, confidence := matcher.Match(tags...)
	if confidence == language.No {
		return ""
	}
	return languages[index]
}

// rememberLanguage keeps a language that the URL asked for, so that it holds on the pages that follow.
func (p *Pages) rememberLanguage(w http.ResponseWriter, r *http.Request) {
	lang := requestedLanguage(r)
	if lang == "" {
		return
	}
	if cookie, err := r.Cookie(languageCookie); err == nil && cookie.Value == lang {
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: Secure wherever the issuer is on https
		Name:     languageCookie,
		Value:    lang,
		Path:     p.options.BasePath + "/",
		MaxAge:   365 * 24 * 60 * 60,
		Secure:   p.options.HTTPS,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// languageLink is one entry of the switch; URL is empty for the language being shown.
type languageLink struct {
	Tag, Name, URL string
}

// languageLinks are the switch. On a page that answered a GET they lead to the same URL with ui_locales set: a reference that is
// only a query, so that no path is ever copied from the request. Other pages need languageURL, a path on this origin; without
// it there is no switch, since a posted form cannot be repeated by a link.
func (p *Pages) languageLinks(r *http.Request, current, languageURL string) []languageLink {
	path, rawQuery := "", r.URL.RawQuery
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if path = localPath(languageURL); path == "" {
			return nil
		}
		path, rawQuery, _ = strings.Cut(path, "?")
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil
	}
	var links []languageLink
	for _, lang := range languages {
		link := languageLink{Tag: lang, Name: autonyms[lang]}
		if lang != current {
			query.Set("ui_locales", lang)
			link.URL = path + "?" + query.Encode()
		}
		links = append(links, link)
	}
	return links
}
