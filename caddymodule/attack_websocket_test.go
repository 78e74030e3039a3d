package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// webSocket opens one through the gate and stays until somebody else ends it. It
// returns the answer to the handshake and when the end came; open is called when
// the connection is.
func (a *attempt) webSocket(show string, open func()) (e exchange, ended time.Time) {
	a.Helper()
	conn, err := net.Dial("tcp", a.gate)
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	head := requestHead("GET", "/api/ws", "Host: gw.test", show, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	if _, err := io.WriteString(conn, head); err != nil {
		a.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	e = exchange{answer: readFinal(reader, "GET"), path: "/api/ws"}
	if e.StatusCode != http.StatusSwitchingProtocols {
		return e, time.Now()
	}
	a.echoes(conn, reader)
	open()
	if _, err := io.Copy(io.Discard, reader); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			a.Errorf("the websocket was still open after %v", answerTimeout)
		}
	}
	return e, time.Now()
}

// echoes: what is sent comes back, so that the connection is one.
func (a *attempt) echoes(conn net.Conn, reader io.Reader) {
	a.Helper()
	ping := []byte{0x89, 0x80, 1, 2, 3, 4} // a masked ping (RFC 6455 §5.2), which the backend repeats
	if _, err := conn.Write(ping); err != nil {
		a.Fatal(err)
	}
	if _, err := io.ReadFull(reader, make([]byte, len(ping))); err != nil {
		a.Fatal("the websocket does not carry: ", err)
	}
}

// outlivesToken keeps a websocket open past the exp of its token, and past its
// revocation.
func outlivesToken(a *attempt) {
	const patience = 2 * time.Second // that the gate may take to notice
	exp := time.Now().Add(2 * time.Second).Truncate(time.Second)
	e, ended := a.webSocket(a.shows(a.signed(nil, map[string]any{"exp": exp.Unix()})), func() {})
	a.judge(e)
	if ended.Before(exp) || ended.After(exp.Add(patience)) {
		a.Errorf("the websocket ended %v after the exp of its token", ended.Sub(exp))
	}
	token := a.token("svc", appSecret, "scope=read", "resource=https://api.test")
	var revoked time.Time
	e, ended = a.webSocket(a.shows(token), func() {
		a.revoke(token)
		revoked = time.Now()
	})
	a.judge(e)
	if ended.After(revoked.Add(patience)) {
		a.Errorf("the websocket ended %v after its token was revoked", ended.Sub(revoked))
	}
}
