package l4

import (
	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
)

// receive reads once from a socket that does not block, into a buffer that
// there is only as long as something is in it. n of room were filled; 0 without
// an error is the end of the stream. err is an error of the intake.
func (in *intake) receive(fd int) (n, room int, errno reactor.Errno, err error) {
	fresh := in.buf == nil
	if fresh {
		if !in.take(firstBuffer) {
			return 0, 0, reactor.OK, errHelloBudget
		}
	} else if err := in.fit(); err != nil {
		return 0, 0, reactor.OK, err
	}
	free := in.buf.b[in.end:]
	n, errno = reactor.Recv(fd, free)
	if fresh && errno == unix.EAGAIN {
		in.release()
	}
	in.end += n
	return n, len(free), errno, nil
}
