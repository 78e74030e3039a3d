package caddymodule

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client is a connection on which frames are written one by one.
type http2Client struct {
	*attempt
	conn   *tls.Conn
	framer *http2.Framer
	block  bytes.Buffer
	coder  *hpack.Encoder
}

// http2 opens a connection to the gate.
func (a *attempt) http2() *http2Client {
	a.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: answerTimeout}, "tcp", a.gateTLS, clientTLS("h2"))
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		a.Fatal(err)
	}
	c := &http2Client{attempt: a, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.coder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.framer.WriteSettings(); err != nil {
		a.Fatal(err)
	}
	return c
}

// clientTLS trusts anybody: the certificate is the fixture's own.
func clientTLS(protocol string) *tls.Config {
	return &tls.Config{ServerName: "gw.test", InsecureSkipVerify: true, NextProtos: []string{protocol}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
}

// encode compresses header fields, given as name and value in turn.
func (c *http2Client) encode(fields ...string) []byte {
	c.block.Reset()
	for n := 0; n+1 < len(fields); n += 2 {
		_ = c.coder.WriteField(hpack.HeaderField{Name: fields[n], Value: fields[n+1]})
	}
	return bytes.Clone(c.block.Bytes())
}

// request sends the head of a GET and more fields on a stream of its own.
func (c *http2Client) request(stream uint32, fields ...string) {
	c.Helper()
	all := append([]string{":method", "GET", ":scheme", "https", ":path", "/api/a", ":authority", "gw.test"}, fields...)
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encode(all...), EndHeaders: true, EndStream: true})
	if err != nil {
		c.Fatal(err)
	}
}

// answer reads up to the head of the answer on a stream. A stream that is reset
// with PROTOCOL_ERROR was malformed (RFC 9113 §8.1.1), for which HTTP/1.1 has 400,
// and has that status here; one that ends otherwise has the status 0.
func (c *http2Client) answer(stream uint32) exchange {
	c.Helper()
	closed := func(why string) exchange {
		return exchange{answer: answer{&http.Response{Header: http.Header{}}, why}, path: "HTTP/2"}
	}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return closed(err.Error())
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return metaExchange(frame)
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream && frame.ErrCode == http2.ErrCodeProtocol {
				return exchange{answer: answer{&http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}}, ""}, path: "HTTP/2"}
			}
			if frame.StreamID == stream {
				return closed(frame.ErrCode.String())
			}
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return closed(frame.ErrCode.String())
			}
		}
	}
}

func metaExchange(frame *http2.MetaHeadersFrame) exchange {
	response := &http.Response{Header: http.Header{}}
	response.StatusCode, _ = strconv.Atoi(frame.PseudoValue("status"))
	for _, field := range frame.RegularFields() {
		response.Header.Add(field.Name, field.Value)
	}
	return exchange{answer: answer{Response: response}, path: "HTTP/2"}
}

// rapidReset opens and gives up many streams, and looks whether others are served
// meanwhile.
func rapidReset(a *attempt) {
	c := a.http2()
	block := c.encode(":method", "GET", ":scheme", "https", ":path", "/api/a", ":authority", "gw.test")
	flooded := make(chan error, 1)
	go func() {
		for n := range uint32(10_000) {
			stream := 2*n + 1
			err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true, EndStream: true})
			if err == nil {
				err = c.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
			}
			if err != nil {
				flooded <- err
				return
			}
		}
		flooded <- nil
	}()
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	for {
		if e := a.toGate("GET", "/api/a"); e.StatusCode != 401 || e.took > 2*time.Second {
			a.Errorf("another client was answered %d after %v", e.StatusCode, e.took)
		}
		select {
		case <-flooded:
			a.judge(a.toGate("GET", "/api/a"))
			return
		default:
		}
	}
}

// continuationFlood sends a header that never ends. The server must end it.
func continuationFlood(a *attempt) {
	c := a.http2()
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(":method", "GET")}); err != nil {
		a.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			frame, err := c.framer.ReadFrame()
			if err != nil {
				return
			}
			if _, away := frame.(*http2.GoAwayFrame); away {
				return
			}
		}
	}()
	field := strings.Repeat("x", 8<<10)
	sent := 0
	for ; sent < 64<<20; sent += len(field) {
		err := c.framer.WriteContinuation(1, false, c.encode(fmt.Sprintf("x-%d", sent), field))
		if err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		a.Errorf("%d bytes of header were taken", sent)
	}
	<-ended
	a.judge(a.toGate("GET", "/api/a"))
}
