package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/quicpkt"
	"github.com/mintmark/mintmark/internal/route"
)

// asks is how often a question is sent in the time of one check: a datagram
// that got lost says nothing about the server.
const asks = 3

// maxAnswers is how many datagrams are looked at for an answer, so that a
// server that sends something else without end does not keep us reading.
const maxAnswers = 64

// errNoAnswer is the error of a check in which nothing came that was an answer.
var errNoAnswer = errors.New("no answer")

// A question is what a check by datagrams sends, and how an answer to it looks.
type question struct {
	datagram []byte
	answers  func(datagram []byte) bool
	what     string // for people: what is asked
}

// questionOf returns the question of a check, and false if its protocol is not
// one of datagrams.
func questionOf(h route.HealthType) (question, bool) {
	switch h {
	case route.HealthQUIC:
		p := quicpkt.NewProbe()
		return question{p.Append(nil), p.Answers, "QUIC Version Negotiation"}, true
	case route.HealthDTLS:
		return question{dtlsrec.NewProbe().Append(nil), func(b []byte) bool {
			return dtlsrec.ParseAnswer(b) != dtlsrec.NoAnswer
		}, "DTLS hello"}, true
	default:
		return question{}, false
	}
}

// ask sends the question over conn until it is answered.
func (q question) ask(ctx context.Context, conn net.Conn) error {
	// A deadline in the past ends a read at once.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(defaultTimeout)
	}
	buf := make([]byte, quicpkt.MaxAnswerSize+1) // one more, so that a longer one does not look as if it fitted
	left := maxAnswers
	for n := range asks {
		if _, err := conn.Write(q.datagram); err != nil {
			return q.failed(ctx, err)
		}
		until := time.Now().Add(time.Until(end) / time.Duration(asks-n))
		if err := conn.SetReadDeadline(until); err != nil {
			return q.failed(ctx, err)
		}
		if err := ctx.Err(); err != nil {
			return q.failed(ctx, err) // its end may have set a deadline that this one replaced
		}
		for ; left > 0; left-- {
			size, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				break
			}
			if err != nil {
				return q.failed(ctx, err)
			}
			if q.answers(buf[:size]) {
				return nil
			}
		}
	}
	return q.failed(ctx, errNoAnswer)
}

func (q question) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errNoAnswer
	}
	return fmt.Errorf("%s: %w", q.what, err)
}
