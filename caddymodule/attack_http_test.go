package caddymodule

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// httpAttack finds the code of an entry about HTTP itself: methods, framing,
// upgrades, CORS.
func httpAttack(a attack) attackCode {
	if code := httpAttacks[a.ID]; code != nil {
		return code
	}
	if found := regexp.MustCompile(`^method (\w+) without token$`).FindStringSubmatch(a.Title); found != nil {
		return func(a *attempt) { a.judge(a.toGate(found[1], "/api/a")) }
	}
	if found := regexp.MustCompile(`^CORS Origin: (.*) with a real token$`).FindStringSubmatch(a.Title); found != nil {
		return func(a *attempt) { foreignOrigin(a, wireBytes(found[1])) }
	}
	if strings.HasPrefix(a.Title, "Transfer-Encoding") || strings.HasPrefix(a.Title, "Content-Length: ") {
		return framed(strings.Split(wireBytes(a.Title), " + ")...)
	}
	return nil
}

// smuggled is a request that stands where two readers could see a body or a
// second request.
const smuggled = "0\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: gw.test\r\nX-User: admin\r\n\r\n"

// framed sends a body whose end is not plain (RFC 9112 §6.3). The answer is the
// last on its connection.
func framed(lines ...string) attackCode {
	return func(a *attempt) {
		head := requestHead("POST", "/api/a", append(lines, "Host: gw.test", a.shows(a.goodToken()))...)
		answers := a.wire(a.gate, head+smuggled, 2)
		a.judge(answers[0])
		if len(answers) > 1 || !answers[0].Close {
			a.Errorf("%q: %d answers, and the connection stays open: %t", lines, len(answers), !answers[0].Close)
		}
	}
}

// foreignOrigin: a script of another origin gets no answer to read.
func foreignOrigin(a *attempt, origin string) {
	e := a.toGate("GET", "/api/a", a.shows(a.goodToken()), "Origin: "+origin)
	a.judge(e)
	if e.StatusCode != 200 {
		return // nobody has read it
	}
	if e.Header.Get("Access-Control-Allow-Credentials") != "" {
		a.Errorf("Origin %q: credentials are allowed", origin)
	}
	if !slices.Contains(e.Header.Values("Vary"), "Origin") {
		a.Errorf("Origin %q: Vary %q, want Origin: the answer depends on it", origin, e.Header.Values("Vary"))
	}
}

// chunked sends a body in a transfer coding that is written by hand.
func chunked(a *attempt, body string) exchange {
	return a.wire(a.gate, requestHead("POST", "/api/unfinished", "Host: gw.test", "Transfer-Encoding: chunked", a.shows(a.goodToken()))+body, 1)[0]
}

// announced sends the head of a request with a body that never comes. The answer
// does not wait for it and is the last one.
func announced(length string, lines ...string) attackCode {
	return func(a *attempt) {
		best := exchange{took: answerTimeout}
		for range 3 {
			e := a.toGate("POST", "/api/a", append(lines, "Content-Length: "+length)...)
			a.judge(e)
			if e.Header.Get("Interim") != "0" || !e.Close {
				a.Errorf("%s interim answers, connection closed: %t", e.Header.Get("Interim"), e.Close)
			}
			if e.took < best.took {
				best = e
			}
		}
		if best.took > 50*time.Millisecond {
			a.Errorf("the answer took %v, want less than 50 ms", best.took)
		}
	}
}

var httpAttacks = map[string]attackCode{
	"GT-013": func(a *attempt) {
		for _, method := range []string{"post", "Post", "GET\t", "get", "POST", " GET"} {
			a.judge(a.toGate(method, "/rules/x"))
		}
		if got := a.backend.take(); len(got) > 0 {
			a.Errorf("the backend got %q", got)
		}
		if e := a.toGate("GET", "/rules/x"); e.StatusCode != 200 {
			a.Errorf("the control, GET, is answered %d", e.StatusCode)
		}
		a.backend.take()
	},
	"GT-015": func(a *attempt) {
		a.forbidden = []string{"DELETE"}
		show := a.shows(a.goodToken())
		for _, name := range []string{"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "x_http.method"} {
			a.judge(a.toGate("GET", "/api/a", show, name+": DELETE"))
		}
	},
	"GT-017": func(a *attempt) {
		show := a.shows(a.goodToken())
		a.judge(a.toGate("GET", "/api/a?_method=DELETE", show))
		body := "_method=DELETE"
		a.judge(a.wire(a.gate, requestHead("POST", "/api/a", "Host: gw.test", show, "Content-Type: application/x-www-form-urlencoded", contentLength(body))+body, 1)...)
		for _, request := range a.backend.seen() {
			if strings.HasPrefix(request, "DELETE") {
				a.Errorf("the method was taken from the request's data: %q", request)
			}
		}
	},
	"GT-018": func(a *attempt) { a.judge(a.toGate("TRACE", "/api/a", a.shows(a.goodToken()))) },
	"GT-019": func(a *attempt) {
		show := a.shows(a.goodToken())
		for _, target := range []string{"backend:22", a.backend.address, "/api/a"} {
			a.judge(a.toGate("CONNECT", target, show))
		}
	},
	"GT-020": func(a *attempt) { a.judge(a.toGate("OPTIONS", "*"), a.toGate("OPTIONS", "*", a.shows(a.goodToken()))) },
	"GT-021": func(a *attempt) {
		preflight := func(origin string) exchange {
			return a.toGate("OPTIONS", "/api/a", "Origin: "+origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization")
		}
		e := preflight("https://app.test")
		a.judge(e)
		for name, want := range map[string]string{"Access-Control-Allow-Origin": "https://app.test", "Access-Control-Allow-Headers": "authorization", "Access-Control-Allow-Methods": "GET"} {
			if got := e.Header.Get(name); got != want {
				a.Errorf("%s %q, want %q", name, got, want)
			}
		}
		for _, origin := range []string{"https://evil.test", "https://app.test.evil.test", "null", "http://app.test", "HTTPS://APP.TEST"} {
			e := preflight(origin)
			a.judge(e)
			if got := e.Header.Get("Access-Control-Allow-Origin"); got != "" {
				a.Errorf("Origin %s: Access-Control-Allow-Origin %q", origin, got)
			}
		}
	},
	"GT-038": framed("Content-Length: 3", "Content-Length: 4"),
	"GT-043": func(a *attempt) {
		for _, body := range []string{"3;a=\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3;a=\n" + smuggled, "0x3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n"} {
			a.judge(chunked(a, body))
		}
	},
	"GT-044": func(a *attempt) {
		show := a.shows(a.goodToken())
		a.judge(a.toGate("GET", "/api/a", "X-A: b\rX-User: admin", show), a.toGate("GET", "/api/a", "X-A: b\r\r\nX-User: admin", show))
	},
	"GT-045": func(a *attempt) {
		a.forbidden = []string{"admin"}
		lines := func(lines ...string) exchange {
			return a.wire(a.gate, strings.ReplaceAll(requestHead("GET", "/api/a", lines...), "\r\n", "\n"), 1)[0]
		}
		if e := lines("Host: gw.test", "X-User: admin"); e.StatusCode == 200 {
			a.Error("without a token: 200")
		} else {
			a.judge(e)
		}
		a.judge(lines("Host: gw.test", "X-User: admin", a.shows(a.goodToken())))
		for _, request := range a.backend.seen() {
			a.judgeIdentity(request)
		}
	},
	"GT-046": func(a *attempt) {
		good := requestHead("GET", "/api/a", "Host: gw.test", a.shows(a.goodToken()))
		a.judge(a.wire(a.gate, good+requestHead("GET", "/api/anonymous", "Host: gw.test"), 2)...)
		a.forbidden = []string{"anonymous"}
	},
	"GT-048": func(a *attempt) {
		show := a.shows(a.goodToken())
		for _, lines := range [][]string{
			{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"},
			{"Connection: Upgrade", "Upgrade: h2c"},
			{"Connection: Upgrade", "Upgrade: websocket, h2c"},
			{"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"},
			{"Upgrade: TLS/1.0", "Connection: upgrade"},
		} {
			a.judge(a.toGate("GET", "/api/a", append(lines, show)...))
		}
	},
	"GT-050": outlivesToken,
	"GT-052": announced("1073741824", "Expect: 100-continue"),
	"GT-053": announced("104857600"),
	"GT-054": func(a *attempt) {
		for _, version := range []string{"HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/3", "HTTP/1.1.1", "http/1.1"} {
			a.judge(a.wire(a.gate, "GET /api/a "+version+"\r\nHost: gw.test\r\n\r\n", 1)...)
		}
	},
	"GT-057": func(a *attempt) {
		query := strings.Repeat("a&", 500_000)
		a.judge(a.toGate("GET", "/api/a?"+query))
		best := answerTimeout
		for range 5 {
			best = min(best, a.toGate("GET", "/api/a?"+query).took)
		}
		if best > 100*time.Millisecond {
			a.Errorf("a query of 1 MB takes %v", best)
		}
	},
	"GT-058": rapidReset,
	"GT-059": continuationFlood,
	"GT-060": func(a *attempt) {
		for _, field := range [][]string{{"connection", "x-user"}, {"transfer-encoding", "chunked"}, {"upgrade", "h2c"}, {"te", "gzip"}, {"keep-alive", "1"}, {"proxy-connection", "close"}} {
			c := a.http2()
			c.request(1, append(field, "authorization", strings.TrimPrefix(a.shows(a.goodToken()), "Authorization: "))...)
			a.judge(c.answer(1))
			if got := a.backend.take(); len(got) > 0 {
				a.Errorf("%q: the backend got %q", field, got)
			}
		}
	},
	"GT-062": func(a *attempt) {
		c := a.http2()
		c.request(1, "host", "evil.test")
		e := c.answer(1)
		a.judge(e)
		if strings.Contains(e.Header.Get("WWW-Authenticate"), "evil") {
			a.Errorf("the challenge names %q", e.Header.Get("WWW-Authenticate"))
		}
	},
	"GT-063": earlyData,
	"GT-064": func(a *attempt) {
		a.fault = true
		e := a.toGate("GET", "/api/splits", a.shows(a.goodToken()))
		a.judge(e)
		if e.Header.Get("X-Injected") != "" {
			a.Errorf("the backend's data became a header: %q", e.Header)
		}
	},
	"GT-066": func(a *attempt) {
		for n := range 1000 {
			a.judge(a.toGate("GET", "/api/a", bearer("bad"), "X-Forwarded-For: 203.0.113."+strconv.Itoa(n%256)))
		}
	},
}
