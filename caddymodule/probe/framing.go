package probe

import (
	"fmt"
	"net/http"
	"strings"
)

// framingTrials: requests whose end two readers would see at different places
// (RFC 9112 §11.2). Each hides another request; that one must not reach the API
// as a request of its own.
func (p *probe) framingTrials() []*trial {
	const class = "framing"
	var bare, tokens []*trial
	for _, shape := range framingShapes {
		bare = append(bare, one(class, shape.name, p.refused, p.framed(http.MethodGet, shape.of)))
		tokens = append(tokens, one(class, shape.name+", with a good token", p.notSmuggled, p.framed(http.MethodPost, shape.of, p.good())))
	}
	bare = append(bare, p.headTrial(class))
	return append(bare, p.onBackend(tokens...)...)
}

// framing is the fields and the body of a request; the hidden one stands in it.
type framing func(hidden string) (fields []string, body string)

var framingShapes = []struct {
	name string
	of   framing
}{
	{"Content-Length and chunked", func(hidden string) ([]string, string) {
		body := "0\r\n\r\n" + hidden
		return []string{length(len(body)), chunkedField}, body
	}},
	{"chunked and Content-Length", func(hidden string) ([]string, string) {
		body := "0\r\n\r\n" + hidden
		return []string{chunkedField, length(len(body))}, body
	}},
	{"two Content-Length", func(hidden string) ([]string, string) {
		return []string{length(0), length(len(hidden))}, hidden
	}},
	{"a list of Content-Length", func(hidden string) ([]string, string) {
		return []string{fmt.Sprintf("Content-Length: 0, %d", len(hidden))}, hidden
	}},
	{"Content-Length with a sign", func(hidden string) ([]string, string) {
		return []string{fmt.Sprintf("Content-Length: +%d", len(hidden))}, hidden
	}},
	{"negative Content-Length", func(hidden string) ([]string, string) { return []string{"Content-Length: -1"}, hidden }},
	{"unknown Transfer-Encoding", asChunked("Transfer-Encoding: xchunked")},
	{"Transfer-Encoding behind a vertical tab", asChunked("Transfer-Encoding: \x0bchunked")},
	{"space before the colon", asChunked("Transfer-Encoding : chunked")},
	{"chunked and identity", asChunked("Transfer-Encoding: chunked, identity")},
	{"two Transfer-Encoding", asChunked("Transfer-Encoding: chunked", "Transfer-Encoding: cow")},
	{"Transfer-Encoding on two lines", asChunked("Transfer-Encoding:\r\n chunked")},
	{"Transfer-Encoding behind a bare CR", asChunked("X-Probe: a\rTransfer-Encoding: chunked")},
	{"a chunk size that is no number", func(hidden string) ([]string, string) {
		return []string{chunkedField}, "zz\r\n" + hidden
	}},
	{"a chunk size beyond all bounds", func(hidden string) ([]string, string) {
		return []string{chunkedField}, "fffffffffffffffff0\r\n" + hidden
	}},
	{"a negative chunk size", func(hidden string) ([]string, string) {
		return []string{chunkedField}, "-1\r\n" + hidden
	}},
	{"a chunk longer than its size", func(hidden string) ([]string, string) {
		return []string{chunkedField}, "1\r\nxx" + hidden
	}},
	{"a chunk extension behind a bare LF", func(hidden string) ([]string, string) {
		return []string{chunkedField}, "1;a\nx\r\nx\r\n0\r\n\r\n" + hidden
	}},
}

const chunkedField = "Transfer-Encoding: chunked"

func length(n int) string { return fmt.Sprintf("Content-Length: %d", n) }

// asChunked has a body that ends before the hidden request, for those who take
// the fields for chunked, and behind it for the others.
func asChunked(fields ...string) framing {
	return func(hidden string) ([]string, string) {
		body := "0\r\n\r\n" + hidden
		return append(fields, length(len(body))), body
	}
}

// framed is a request in which another one hides, without a token.
func (p *probe) framed(method string, as framing, lines ...string) *shot {
	hidden := p.get("Connection: close")
	fields, body := as(hidden.text)
	s := p.shot(method, p.Target.url.RequestURI(), append(lines, fields...)...).followedBy(body)
	s.inner, s.toEnd = hidden.marker, true
	return s
}

// headTrial: heads that are no HTTP/1.1.
func (p *probe) headTrial(class string) *trial {
	t := &trial{class: class, name: "broken heads", judge: p.refused}
	whole := func(name string, change func(string) string) {
		s := p.get().named(name)
		s.text, s.toEnd = change(s.text), true
		t.shots = append(t.shots, s)
	}
	replace := func(old, new string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, new, 1) }
	}
	host := "Host: " + p.Target.url.Host + "\r\n"
	whole("no Host", replace(host, ""))
	whole("two Host", replace(host, host+"Host: probe.invalid\r\n"))
	whole("HTTP/1.0 without Host", func(text string) string { return replace(host, "")(replace("HTTP/1.1", "HTTP/1.0")(text)) })
	whole("HTTP/1.2", replace("HTTP/1.1", "HTTP/1.2"))
	whole("HTTP/2.0", replace("HTTP/1.1", "HTTP/2.0"))
	whole("no version", replace(" HTTP/1.1", ""))
	whole("bare LF", func(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") })
	whole("bare CR", func(text string) string { return strings.ReplaceAll(text, "\r\n", "\r") + "\r\n\r\n" })
	whole("a space before the first field", replace("\r\nHost", "\r\n Host"))
	whole("a tab behind the method", replace("GET ", "GET\t"))
	whole("two spaces behind the method", replace("GET ", "GET  "))
	return t
}

// notSmuggled: the hidden request did not arrive, and what arrived has one length.
func (p *probe) notSmuggled(r *result) Finding {
	if r.err != nil {
		return fail("%v", r.err)
	}
	if len(p.Backend.with(r.inner)) > 0 {
		return fail("the hidden request reached the API")
	}
	for _, a := range p.Backend.with(r.marker) {
		lengths := 0
		for _, line := range a.head() {
			name, _, _ := strings.Cut(strings.ToLower(line), ":")
			if name = strings.TrimSpace(name); name == "content-length" || name == "transfer-encoding" {
				lengths++
			}
		}
		if lengths > 1 {
			return fail("reached the API with %d lengths", lengths)
		}
	}
	if answer := r.final(); answer != nil {
		return pass("%d", answer.status)
	}
	return pass("the connection was ended")
}
