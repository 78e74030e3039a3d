package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// raw sends bytes to the gate on a connection of their own and returns the
// answers, until the gate closes the connection or has given want of them. An
// interim answer (1xx) counts.
func (s *server) raw(t testing.TB, text string, want int) []answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(text, "\r\n")
	method, target, _ := strings.Cut(line, " ")
	reader := bufio.NewReader(conn)
	var answers []answer
	for len(answers) < want {
		response, err := http.ReadResponse(reader, &http.Request{Method: method, URL: &url.URL{Path: target}})
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d answers: %v", len(answers), err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer{response, string(body)})
	}
	return answers
}

// rawRequest is the head of a request to the gate.
func (s *server) rawRequest(method, path string, lines ...string) string {
	head := []string{method + " " + path + " HTTP/1.1", "Host: " + strings.TrimPrefix(s.url, "http://")}
	return strings.Join(append(head, lines...), "\r\n") + "\r\n\r\n"
}

// statuses are the statuses of answers, for messages.
func statuses(answers []answer) (all []int) {
	for _, a := range answers {
		all = append(all, a.StatusCode)
	}
	return all
}
