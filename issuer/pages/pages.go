package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

// Options are what the operator decides about the look of the pages. The zero value is usable.
type Options struct {
	// Name is what the operator calls this server, shown at the top of every page. Empty: "OAuth".
	Name string

	// LogoFile is the path of an image (SVG, PNG, JPEG, WebP or GIF, at most 512 KiB), read once by New and served from the
	// issuer's own origin. Empty: a plain mark in the accent colour.
	LogoFile string

	// Accent is the colour of buttons and links, as #rrggbb. It is made darker for the light scheme, and lighter for the dark
	// one, as far as is needed for a contrast of 4.5:1 (WCAG 2.2, 1.4.3). Empty: a calm blue.
	Accent string

	// FooterLinks stand at the foot of every page, in this order.
	FooterLinks []Link

	// TemplateDir is a directory of the operator's own templates. A file replaces the embedded template of the same name;
	// a name that is not embedded is refused by New. Empty: none.
	TemplateDir string

	// BasePath is the path of the issuer's URL, such as "" or "/auth", without a slash at its end.
	BasePath string

	// DefaultLanguage, "en" or "fr", answers requests that ask for neither. Empty: "en".
	DefaultLanguage string

	// HTTPS says that the issuer's URL is https: the language cookie is then marked Secure.
	HTTPS bool

	// AllowPopups leaves Cross-Origin-Opener-Policy out. Clients that sign people in within a popup window, and wait there for
	// a message from it, cannot reach that window through the strict policy.
	AllowPopups bool

	// RenderFailed is told of a template that could not be executed; the person got a plain 500. May be nil. The error names
	// the template and line, and may quote the data of the page: it belongs in a log, not in an answer.
	RenderFailed func(r *http.Request, page string, err error)
}

// Link is a link of the operator's.
type Link struct {
	Label Text
	URL   string // https, http or mailto, or a path from the root of this origin
}

// Pages renders pages. It is safe for concurrent use, and does not change after New.
type Pages struct {
	options   Options
	language  string // the default
	templates map[string]map[string]*template.Template
	assets    map[string]asset
}

// New checks the options, reads the logo and the operator's templates, and tries every template on empty and on full data,
// so that what would fail at a person's sign-in fails here instead. Errors in templates name the file and the line.
func New(options Options) (*Pages, error) {
	p, err := newWithoutTemplates(options)
	if err != nil {
		return nil, err
	}
	if p.templates, err = p.parseTemplates(); err != nil {
		return nil, err
	}
	return p, nil
}

// Validate reports what New would refuse. It is quick where the templates are the built-in ones.
func (o Options) Validate() error {
	p, err := newWithoutTemplates(o)
	if err == nil && o.TemplateDir != "" {
		_, err = p.parseTemplates()
	}
	return err
}

func newWithoutTemplates(options Options) (*Pages, error) {
	if options.Name == "" {
		options.Name = "OAuth"
	}
	if options.BasePath != "" && (localPath(options.BasePath) == "" || strings.HasSuffix(options.BasePath, "/")) {
		return nil, fmt.Errorf("pages: base path %q: must be empty, or begin with a slash and not end with one", options.BasePath)
	}
	for _, link := range options.FooterLinks {
		if footerURL(link.URL) == "" {
			return nil, fmt.Errorf("pages: footer link %q: must be an https, http or mailto URL, or a path", link.URL)
		}
	}
	p := &Pages{options: options, language: options.DefaultLanguage}
	if p.language == "" {
		p.language = "en"
	}
	if !isSupported(p.language) {
		return nil, fmt.Errorf("pages: default language %q: must be one of %s", p.language, strings.Join(languages, ", "))
	}
	var err error
	if p.assets, err = p.loadAssets(); err != nil {
		return nil, err
	}
	return p, nil
}

// page is one response to be rendered.
type page struct {
	template    string // file name in templates/
	status      int
	data        any
	languageURL string   // where the language switch leads when the request was not a GET; may be empty
	formTargets []string // redirect URIs or schemes where an answer to one of the page's forms may lead
	formLeaves  bool     // the page's form is posted to the form targets alone, by the script
}

// view is what the layout sees; the page's own templates see Data.
type view struct {
	Name      string
	Language  string
	Languages []languageLink
	Footer    []Link
	FormPost  bool
	Data      any
}

// render writes a whole page or, when its template fails, a whole 500: never half of one.
func (p *Pages) render(w http.ResponseWriter, r *http.Request, pg page) {
	lang := p.Language(r)

	var body bytes.Buffer
	err := p.templates[lang][pg.template].ExecuteTemplate(&body, "layout", view{
		Name:      p.options.Name,
		Language:  lang,
		Languages: p.languageLinks(r, lang, pg.languageURL),
		Footer:    p.options.FooterLinks,
		FormPost:  pg.formLeaves,
		Data:      pg.data,
	})
	if err != nil {
		p.fail(w, r, pg, err)
		return
	}
	p.rememberLanguage(w, r)
	p.setHeaders(w.Header(), lang, pg)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(pg.status)
	w.Write(body.Bytes()) // a person who went away is no error
}

// fail answers 500 in place of a page that cannot be rendered, and tells the operator why.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, pg page, err error) {
	if p.options.RenderFailed != nil {
		p.options.RenderFailed(r, pg.template, fmt.Errorf("pages: %w", err))
	}
	p.setHeaders(w.Header(), "en", pg)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	w.Write([]byte("500 Internal Server Error\n"))
}
