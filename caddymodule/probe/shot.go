package probe

import (
	"fmt"
	"net/http"
	"strings"
)

// shot is what goes over one connection.
type shot struct {
	name   string // where a trial has several
	marker string // of its request, by which the backend knows it
	method string
	text   string
	inner  string // marker of a request that hides in this one
	toEnd  bool   // all answers are awaited, not only the first
}

// result is what came of a shot.
type result struct {
	*shot
	answers []answer
	err     error // why there was no connection
}

// shot makes a request. lines are header fields, as they go over the wire.
func (p *probe) shot(method, target string, lines ...string) *shot {
	s := &shot{method: method, marker: p.marker()}
	head := append([]string{method + " " + target + " HTTP/1.1", "Host: " + p.Target.url.Host, markerField + ": " + s.marker}, lines...)
	s.text = strings.Join(head, "\r\n") + "\r\n\r\n"
	return s
}

// get is the request that the API answers, with other header fields.
func (p *probe) get(lines ...string) *shot {
	return p.shot(http.MethodGet, p.Target.url.RequestURI(), lines...)
}

// marker makes a name for a request.
func (p *probe) marker() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shots++
	return fmt.Sprintf("%s-%d", p.word, p.shots)
}

// named gives a shot a name.
func (s *shot) named(name string) *shot {
	s.name = name
	return s
}

// toHost asks for another host.
func (s *shot) toHost(host string) *shot {
	before, rest, _ := strings.Cut(s.text, "Host: ")
	_, after, _ := strings.Cut(rest, "\r\n")
	s.text = before + "Host: " + host + "\r\n" + after
	return s
}

// followedBy adds what comes behind the head.
func (s *shot) followedBy(text string) *shot {
	s.text += text
	return s
}

// good is the header field with the good token.
func (p *probe) good() string { return bearerField(p.given.Tokens.Good) }

func bearerField(token string) string { return "Authorization: Bearer " + token }
