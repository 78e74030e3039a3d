package caddymodule

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// outside is everything beyond the fixture, as a name server: a server that is
// lured into fetching https://evil.test/keys has to ask for the name first.
type outside struct {
	mu    sync.Mutex
	asked []string
}

// startOutside makes every look-up of a name in this process one of outside.
// Names of the fixture end in .test and are never looked up, since tests dial
// addresses: whatever is asked for is a stranger. Every name is an address of
// this machine, so that a connection that follows goes nowhere else.
func startOutside(t *testing.T) *outside {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = usual
		server.Close()
	})
	o := new(outside)
	go o.serve(server)
	return o
}

func (o *outside) serve(server net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buffer)
		if err != nil {
			return
		}
		if reply := o.reply(buffer[:n]); reply != nil {
			_, _ = server.WriteTo(reply, from)
		}
	}
}

// reply answers a question for an address with that of this machine.
func (o *outside) reply(query []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	o.mu.Lock()
	o.asked = append(o.asked, strings.TrimSuffix(question.Name.String(), "."))
	o.mu.Unlock()
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true},
		Questions: []dnsmessage.Question{question},
	}
	if question.Type == dnsmessage.TypeA {
		message.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	reply, err := message.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// take returns the names that were asked for since the last take.
func (o *outside) take() (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	names, o.asked = o.asked, nil
	return names
}
