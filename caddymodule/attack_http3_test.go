package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// earlyData sends a POST in the 0-RTT data of HTTP/3, which whoever has seen the
// packets can send again. A gateway passes it on only to an origin that knows of
// early data, and else answers 425 or waits for the handshake (RFC 8470 §5.2).
func earlyData(a *attempt) {
	form := "grant_type=client_credentials&scope=read"
	for _, target := range []struct{ address, host, path, authorization, body string }{
		{a.gateTLS, "gw.test", "/api/a", "Bearer " + a.goodToken(), "amount=100"},
		{a.issuerTLS, "as.test", "/token", strings.TrimPrefix(basic("svc", appSecret), "Authorization: "), form},
	} {
		send := func(config *tls.Config) (exchange, bool) {
			return a.http3(target.address, config, target.body,
				":method", "POST", ":scheme", "https", ":authority", target.host, ":path", target.path,
				"authorization", target.authorization, "content-type", "application/x-www-form-urlencoded")
		}
		config := clientTLS("h3")
		if e, _ := send(config); e.StatusCode != 200 {
			a.Fatalf("the control is refused: %d %s", e.StatusCode, e.body)
		}
		a.backend.take()
		e, early := send(config) // with the ticket of the first connection
		if !early {
			a.Errorf("%s takes no early data, and so nothing was tried", target.host)
		}
		a.judge(e)
		if got := a.backend.take(); len(got) > 0 {
			a.Errorf("a POST in early data reached the backend: %q", got)
		}
	}
}

// http3 sends a request on a new connection, as early as it can, and tells
// whether that was in early data. It writes the frames itself, because clients
// send no POST early.
func (a *attempt) http3(address string, config *tls.Config, body string, head ...string) (e exchange, early bool) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), answerTimeout)
	defer cancel()
	conn, err := quic.DialAddrEarly(ctx, address, config, &quic.Config{})
	if err != nil {
		a.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		a.Fatal(err)
	}
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for n := 0; n+1 < len(head); n += 2 {
		if err := encoder.WriteField(qpack.HeaderField{Name: head[n], Value: head[n+1]}); err != nil {
			a.Fatal(err)
		}
	}
	frames := slices.Concat(http3Frame(http3Headers, block.Bytes()), http3Frame(http3Data, []byte(body)))
	if _, err := stream.Write(frames); err != nil {
		a.Fatal(err)
	}
	_ = stream.Close()
	e = exchange{answer: readHTTP3(a, bufio.NewReader(stream)), toIssuer: address == a.issuerTLS, path: "HTTP/3"}
	return e, conn.ConnectionState().Used0RTT
}

// The frames of a request and of its answer (RFC 9114 §7.2).
const (
	http3Data    = 0
	http3Headers = 1
)

func http3Frame(kind uint64, payload []byte) []byte {
	frame := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	return append(frame, payload...)
}

// readHTTP3 reads the frames of an answer.
func readHTTP3(a *attempt, stream *bufio.Reader) answer {
	a.Helper()
	got := answer{Response: &http.Response{Header: http.Header{}}}
	for {
		kind, err := quicvarint.Read(stream)
		if err == io.EOF {
			return got
		}
		if err != nil {
			a.Fatal(err)
		}
		length, err := quicvarint.Read(stream)
		if err != nil {
			a.Fatal(err)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(stream, payload); err != nil {
			a.Fatal(err)
		}
		switch kind {
		case http3Data:
			got.body += string(payload)
		case http3Headers:
			decode := qpack.NewDecoder().Decode(payload)
			for {
				field, err := decode()
				if err != nil {
					break
				}
				if field.Name == ":status" {
					got.StatusCode, _ = strconv.Atoi(field.Value)
				}
				got.Header.Add(field.Name, field.Value)
			}
		}
	}
}
