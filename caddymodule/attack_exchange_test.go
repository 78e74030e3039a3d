package caddymodule

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// answerTimeout is how long an answer may take at most.
const answerTimeout = 15 * time.Second

// toGate sends a request to the gate, byte for byte: nothing is escaped, ordered
// or added but Host.
func (a *attempt) toGate(method, target string, lines ...string) exchange {
	a.Helper()
	return a.wire(a.gate, requestHead(method, target, append([]string{"Host: gw.test"}, lines...)...), 1)[0]
}

// toIssuer sends a request to the issuer, byte for byte, with the length of the
// body and Host added.
func (a *attempt) toIssuer(method, target, body string, lines ...string) exchange {
	a.Helper()
	head := append([]string{"Host: as.test"}, lines...)
	if body != "" || method == "POST" {
		head = append(head, "Content-Length: "+strconv.Itoa(len(body)))
	}
	return a.wire(a.issuer, requestHead(method, target, head...)+body, 1)[0]
}

// requestHead is the head of a request, with the empty line after it.
func requestHead(method, target string, lines ...string) string {
	return strings.Join(append([]string{method + " " + target + " HTTP/1.1"}, lines...), "\r\n") + "\r\n\r\n"
}

// wire sends bytes on a connection of their own and returns the final answers, as
// many as are wanted. It returns fewer, but one at least, when the server closes
// the connection: without any answer, one whose status is 0. Interim answers are
// counted in the header "Interim" of the final one.
func (a *attempt) wire(address, text string, want int) []exchange {
	a.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close()
	started := time.Now()
	_ = conn.SetDeadline(started.Add(answerTimeout))
	go func() { _, _ = io.WriteString(conn, text) }() // the server may answer and close before it has read everything
	line, _, _ := strings.Cut(text, "\n")
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	reader := bufio.NewReader(conn)
	exchanges := make([]exchange, 0, want)
	for len(exchanges) < want {
		e := exchange{answer: readFinal(reader, method), toIssuer: address == a.issuer, path: target}
		e.took = time.Since(started)
		if e.StatusCode == 0 && len(exchanges) > 0 {
			break
		}
		exchanges = append(exchanges, e)
		if e.StatusCode == 0 || e.Close {
			break
		}
	}
	if time.Since(started) >= answerTimeout {
		a.Errorf("%s: no answer within %v", target, answerTimeout)
	}
	return exchanges
}

// readFinal reads answers up to one that is not interim.
func readFinal(reader *bufio.Reader, method string) answer {
	request := &http.Request{Method: method, URL: new(url.URL)}
	for interim := 0; ; interim++ {
		response, err := http.ReadResponse(reader, request)
		if err != nil {
			return answer{Response: &http.Response{Request: request, Header: http.Header{"Interim": {strconv.Itoa(interim)}}}}
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		response.Header.Set("Interim", strconv.Itoa(interim))
		if response.StatusCode == http.StatusSwitchingProtocols {
			return answer{response, ""}
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		return answer{response, string(body)}
	}
}

// wireBytes turns the escapes that entries use for bytes into these bytes: \r,
// \n, \t, \xHH and \uHHHH. A backslash before anything else is one.
func wireBytes(text string) string {
	var b strings.Builder
	for text != "" {
		digits := 0
		switch {
		case strings.HasPrefix(text, `\x`):
			digits = 2
		case strings.HasPrefix(text, `\u`):
			digits = 4
		case strings.HasPrefix(text, `\r`), strings.HasPrefix(text, `\n`), strings.HasPrefix(text, `\t`):
			b.WriteByte(map[byte]byte{'r': '\r', 'n': '\n', 't': '\t'}[text[1]])
			text = text[2:]
			continue
		}
		if digits > 0 && len(text) >= 2+digits {
			if code, err := strconv.ParseUint(text[2:2+digits], 16, 16); err == nil {
				if digits == 2 {
					b.WriteByte(byte(code))
				} else {
					b.WriteRune(rune(code))
				}
				text = text[2+digits:]
				continue
			}
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String()
}

// webSocketAccept is the answer to a websocket's key (RFC 6455 §4.2.2).
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
