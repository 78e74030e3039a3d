package pages

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

// sharedTemplates are parsed into every page.
var sharedTemplates = []string{"layout.html", "partials.html"}

// pageData gives each page's template the type of data that it is rendered with.
var pageData = map[string]any{
	"login.html":                Login{},
	"consent.html":              Consent{},
	"error.html":                Error{},
	"account.html":              Account{},
	"logout.html":               Logout{},
	"logged_out.html":           LoggedOut{},
	"device.html":               Device{},
	"device_confirm.html":       DeviceConfirm{},
	"device_result.html":        DeviceResult{},
	"welcome.html":              welcomeView{},
	"application.html":          Application{},
	"application_received.html": ApplicationReceived{},
	"application_list.html":     ApplicationList{},
	"application_review.html":   ApplicationReview{},
	"secret_reveal.html":        SecretReveal{},
	"secret.html":               Secret{},
	"form_post.html":            FormPost{},
}

// parseTemplates returns the templates by language and file name, the operator's in place of the embedded ones.
func (p *Pages) parseTemplates() (map[string]map[string]*template.Template, error) {
	sources, err := templateSources(p.options.TemplateDir)
	if err != nil {
		return nil, err
	}
	parsed := make(map[string]map[string]*template.Template)
	for _, lang := range languages {
		messages, err := loadCatalog(lang)
		if err != nil {
			return nil, err
		}
		parsed[lang] = make(map[string]*template.Template)
		for _, name := range slices.Sorted(maps.Keys(pageData)) {
			t, err := parsePage(name, sources, p.functions(messages))
			if err != nil {
				return nil, err
			}
			parsed[lang][name] = t
		}
	}
	return parsed, nil
}

// source is the text of a template, and the file to name when it is wrong.
type source struct{ file, text string }

func templateSources(dir string) (map[string]source, error) {
	sources := make(map[string]source)
	for _, name := range append(slices.Collect(maps.Keys(pageData)), sharedTemplates...) {
		text, err := templateFiles.ReadFile("templates/" + name)
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		sources[name] = source{file: name, text: string(text)}
	}
	if dir == "" {
		return sources, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("pages: templates: %w", err)
	}
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name())
		if _, known := sources[entry.Name()]; !known {
			return nil, fmt.Errorf("pages: template %s: there is no page of this name; pages are %q",
				file, slices.Sorted(maps.Keys(sources)))
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("pages: template: %w", err)
		}
		sources[entry.Name()] = source{file: file, text: string(text)}
	}
	return sources, nil
}

// parsePage parses a page with the layout, and executes it on empty and on full data: html/template finds some mistakes, such as
// a field that does not exist, only then.
func parsePage(name string, sources map[string]source, functions template.FuncMap) (*template.Template, error) {
	page := template.New("").Funcs(functions) // no file may have this name: New of a name that exists empties it
	for _, file := range append(slices.Clone(sharedTemplates), name) {
		src := sources[file]
		if _, err := page.New(src.file).Parse(src.text); err != nil {
			return nil, fmt.Errorf("pages: %w", err) // names file and line
		}
	}
	for _, data := range []any{pageData[name], specimen(pageData[name])} {
		v := view{Name: "specimen", Language: "en", Data: data}
		if err := page.ExecuteTemplate(io.Discard, "layout", v); err != nil {
			return nil, fmt.Errorf("pages: %s: %w", sources[name].file, err)
		}
	}
	return page, nil
}

// functions are what templates may call beside the builtins.
func (p *Pages) functions(messages catalog) template.FuncMap {
	return template.FuncMap{
		"t":        messages.message,  // a message as text: t "login.title" "client" .Client
		"parts":    messages.parts,    // a message for the template "rich", which sets its values off
		"n":        messages.count,    // a message in singular or plural
		"duration": messages.duration, // a time.Duration in words
		"date":     messages.date,     // a time.Time in words, UTC
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"text":     func(t Text) string { return t.in(messages.lang) },
		"describe": func(s Scope) string { return describe(messages, s) },
		"asset":    p.assetURL,
		"hasLogo":  func() bool { _, ok := p.assets["logo"]; return ok },
		"base":     func() string { return p.options.BasePath },
		"web":      webURL,    // a URL of a client's, or ""
		"local":    localPath, // a path on this origin, or ""
		"footer":   footerURL, // a link of the operator's
		"has":      func(list []string, item string) bool { return slices.Contains(list, item) },
		"map":      func(pairs ...any) (map[string]string, error) { return named(pairs) }, // for templates that need several values
		"list":     func(items ...string) []string { return items },
		"grant":    func(grantType string) string { return messages.texts["grant."+grantType] }, // in words, or ""
	}
}
