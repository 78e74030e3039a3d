package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// CORS says which pages may call an API from a browser (Fetch Standard §3.2).
// Preflight requests are answered before anybody is asked for a token, since
// browsers send none with them. Credentials that browsers add by themselves, such
// as cookies, are never allowed: a token is all that the API needs.
//
// Where it is set it is the only voice: what the API says about origins is
// replaced.
type CORS struct {
	// Origins that may call, such as https://app.example.com, or * for all.
	Origins []string `json:"origins"`

	// MaxAge is how long a browser may remember the answer. Default: 10m.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	maxAge string
	all    bool
}

// corsMaxAge is the default of MaxAge. Chromium caps it at two hours.
const corsMaxAge = 10 * time.Minute

func (c *CORS) provision() error {
	if c == nil {
		return nil
	}
	if len(c.Origins) == 0 || c.MaxAge < 0 {
		return errors.New("want the origins that may call, or *")
	}
	for n, origin := range c.Origins {
		if origin == "*" {
			c.all = true
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("origin %q: want a scheme and a host and nothing else, such as https://app.example.com", origin)
		}
		c.Origins[n] = strings.ToLower(origin)
	}
	if c.MaxAge == 0 {
		c.MaxAge = caddy.Duration(corsMaxAge)
	}
	c.maxAge = strconv.Itoa(int(time.Duration(c.MaxAge).Seconds()))
	return nil
}

// isPreflight tells whether a request only asks whether another one may be made.
func (c *CORS) isPreflight(r *http.Request) bool {
	return c != nil && r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// answerPreflight answers, whatever the origin: to one that may not call, by
// allowing nothing.
func (c *CORS) answerPreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if origin := c.allowed(r); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Max-Age", c.maxAge)
		h.Set("Access-Control-Allow-Methods", tokensOf(r.Header.Get("Access-Control-Request-Method")))
		if headers := tokensOf(r.Header.Get("Access-Control-Request-Headers")); headers != "" {
			h.Set("Access-Control-Allow-Headers", headers)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// allowed is the origin to name in the answer, or nothing.
func (c *CORS) allowed(r *http.Request) string {
	origins := r.Header["Origin"]
	switch {
	case len(origins) != 1:
		return ""
	case c.all:
		return "*"
	case slices.Contains(c.Origins, origins[0]):
		return origins[0]
	}
	return ""
}

// tokensOf returns a list of methods or header names as it was sent, if that is
// what it is. Which ones a page may send is not what protects an API that asks
// for tokens.
func tokensOf(list string) string {
	fits := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == ',' || c == ' '
	}
	if len(list) > 1024 || strings.ContainsFunc(list, func(c rune) bool { return !fits(c) }) {
		return ""
	}
	return list
}

// allow lets the page read the answer, a refusal too. It returns the writer to
// use from here on.
func (c *CORS) allow(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if c == nil {
		return w
	}
	cross := &corsWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, origin: c.allowed(r), vary: !c.all}
	cross.setHeaders() // for refusals, which are not written here
	return cross
}

// corsWriter has the last word about the headers of CORS.
type corsWriter struct {
	*caddyhttp.ResponseWriterWrapper
	origin string // that may read the answer, or none
	vary   bool
	wrote  bool
}

func (w *corsWriter) setHeaders() {
	h := w.Header()
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	if w.origin != "" {
		h.Set("Access-Control-Allow-Origin", w.origin)
		h.Set("Access-Control-Expose-Headers", "*, WWW-Authenticate, X-Request-Id")
	}
	if w.vary && !slices.Contains(h["Vary"], "Origin") {
		h.Add("Vary", "Origin")
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *corsWriter) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = status >= 200 || status == http.StatusSwitchingProtocols
		w.setHeaders()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *corsWriter) writeHeader() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// Write implements http.ResponseWriter.
func (w *corsWriter) Write(data []byte) (int, error) {
	w.writeHeader()
	return w.ResponseWriterWrapper.Write(data)
}

// ReadFrom implements io.ReaderFrom.
func (w *corsWriter) ReadFrom(data io.Reader) (int64, error) {
	w.writeHeader()
	return w.ResponseWriterWrapper.ReadFrom(data)
}

// FlushError lets http.ResponseController flush.
func (w *corsWriter) FlushError() error {
	w.writeHeader()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *corsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
