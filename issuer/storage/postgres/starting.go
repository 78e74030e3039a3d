package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// starting tells whether no connection could be made for a reason that passes when
// a server starts: nobody listens, nobody answers, its name is not known yet, or it
// says so. Where containers start, something in between may accept a connection and
// drop it. What a server or its certificate says against us does not pass.
func starting(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code == cannotConnectNow
	}
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return false
	}
	var unknown *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(err, &unknown), errors.As(err, &network) && network.Op == "dial":
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return true
	}
	return pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded)
}
