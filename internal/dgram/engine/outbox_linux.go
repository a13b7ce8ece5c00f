package engine

// Hot: everything here runs for every batch or datagram. Budget: no allocation.

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// outboxSize is how many messages are sent at once.
	outboxSize = 64
	// outboxParts is how many separate pieces of memory they may have together.
	outboxParts = 512
	// maxRun is how many datagrams the kernel takes in one message: UDP_MAX_SEGMENTS
	// before Linux 6.2, and maxRunBytes how large it may be.
	maxRun      = 64
	maxRunBytes = 65000
	// controlOut holds the control messages of a sent message: the address that it
	// comes from, its ECN bits, and UDP_SEGMENT.
	controlOut = 96
)

// A place is where a message goes and comes from.
type place struct {
	name    *unix.RawSockaddrInet6 // nil for connected sockets
	nameLen uint32
	v4      bool // what the kernel sends are packets of IPv4
	// origin is the control message for the address that it comes from, nil to leave
	// that to the kernel.
	origin []byte
	// single says that the kernel does not send runs on the way there.
	single bool
}

// An outbox holds what is to be sent at once. Runs of datagrams of one size to one
// place become one message.
type outbox struct {
	n, parts int // messages and pieces that are there
	headers  [outboxSize]unix.Mmsghdr
	vectors  [outboxParts]unix.Iovec
	controls [outboxSize][controlOut]byte
	runs     [outboxSize]run
	// lost is called for datagrams that could not be sent.
	lost func(errno unix.Errno, datagrams int)
	// datagrams and bytes are how many were sent since somebody looked.
	datagrams, bytes int
}

// A run is datagrams of one size; the last may be smaller, and then no more may
// follow.
type run struct {
	to             *place
	segment        int
	count, bytes   int
	ecn            uint8
	ended          bool
	vectors, first int // pieces, and the first of them
}

// add appends data, datagrams of the size segment of which the last may be smaller.
// It returns false when there is no room: flush, and try again.
func (o *outbox) add(to *place, data []byte, segment int, ecn uint8) bool {
	if o.parts == outboxParts {
		return false
	}
	count := 1
	if segment > 0 && segment < len(data) {
		count = (len(data) + segment - 1) / segment
	}
	if o.n > 0 && o.extend(&o.runs[o.n-1], to, data, segment, count, ecn) {
		return true
	}
	if o.n == outboxSize {
		return false
	}
	o.runs[o.n] = run{
		to: to, segment: segment, count: count, bytes: len(data), ecn: ecn,
		ended: len(data)%max(1, segment) != 0 || len(data) == 0, vectors: 1, first: o.parts,
	}
	o.n++
	o.piece(data)
	return true
}

// extend appends to the last run if data may be a part of it.
func (o *outbox) extend(r *run, to *place, data []byte, segment, count int, ecn uint8) bool {
	if to.single || r.ended || r.to != to || r.ecn != ecn || len(data) == 0 || segment > r.segment || segment < r.segment && count > 1 ||
		r.count+count > maxRun || r.bytes+len(data) > maxRunBytes {
		return false
	}
	r.count += count
	r.bytes += len(data)
	r.ended = len(data)%r.segment != 0
	if v := &o.vectors[o.parts-1]; unsafe.Add(unsafe.Pointer(v.Base), v.Len) == unsafe.Pointer(unsafe.SliceData(data)) {
		v.SetLen(int(v.Len) + len(data)) //nolint:gosec // both are at most a datagram
		return true
	}
	r.vectors++
	o.piece(data)
	return true
}

func (o *outbox) piece(data []byte) {
	o.vectors[o.parts].Base = unsafe.SliceData(data)
	o.vectors[o.parts].SetLen(len(data))
	o.parts++
}

// flush sends everything on fd, in order, and forgets it.
func (o *outbox) flush(fd int) {
	for i := range o.n {
		o.prepare(i)
	}
	for sent := 0; sent < o.n; {
		n, errno := send(fd, o.headers[sent:o.n])
		for i := sent; i < sent+n; i++ {
			o.datagrams += o.runs[i].count
			o.bytes += o.runs[i].bytes
		}
		sent += n
		if errno == 0 {
			continue
		}
		switch r := &o.runs[sent]; {
		case pending(errno):
			// It was about an earlier datagram, and this one is still to be sent.
			o.lost(errno, 0)
			o.again(fd, sent)
		case r.count > 1 && refusesRuns(errno):
			r.to.single = errno != unix.EMSGSIZE
			o.separately(fd, sent)
		default:
			o.lost(errno, r.count)
		}
		sent++
	}
	o.n, o.parts = 0, 0
}

// pending reports whether an error may be that of an earlier datagram, which a
// socket reports with the next call.
func pending(errno unix.Errno) bool {
	return errno == unix.ECONNREFUSED || errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH || errno == unix.EHOSTDOWN
}

// refusesRuns reports whether the reason may be that the message is a run: the
// device computes no checksums (EIO), or a datagram is larger than the device's MTU.
func refusesRuns(errno unix.Errno) bool {
	return errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE || errno == unix.EOPNOTSUPP
}

// again sends message i once more.
func (o *outbox) again(fd, i int) {
	n, errno := send(fd, o.headers[i:i+1])
	if n == 1 {
		o.datagrams += o.runs[i].count
		o.bytes += o.runs[i].bytes
		return
	}
	o.lost(errno, o.runs[i].count)
}

// separately sends the datagrams of message i one by one.
func (o *outbox) separately(fd, i int) {
	r := o.runs[i]
	header := o.headers[i]
	for _, v := range o.vectors[r.first : r.first+r.vectors] {
		rest := unsafe.Slice(v.Base, v.Len)
		for len(rest) > 0 {
			data := rest[:min(r.segment, len(rest))]
			rest = rest[len(data):]
			vector := unix.Iovec{Base: unsafe.SliceData(data)}
			vector.SetLen(len(data))
			one := header
			one.Hdr.Iov = &vector
			one.Hdr.SetIovlen(1)
			control := o.controls[i]
			o.control(&one.Hdr, &control, r, false)
			if n, errno := send(fd, []unix.Mmsghdr{one}); n == 1 {
				o.datagrams++
				o.bytes += len(data)
			} else {
				o.lost(errno, 1)
			}
		}
	}
}

// prepare makes the header of message i.
func (o *outbox) prepare(i int) {
	r := &o.runs[i]
	h := &o.headers[i].Hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(r.to.name)), r.to.nameLen
	h.Iov = &o.vectors[r.first]
	h.SetIovlen(r.vectors)
	o.control(h, &o.controls[i], *r, r.count > 1)
}

// control makes the control messages of h in buffer.
func (o *outbox) control(h *unix.Msghdr, buffer *[controlOut]byte, r run, segments bool) {
	b := buffer[:0]
	b = append(b, r.to.origin...)
	if r.ecn != 0 {
		level, kind := int32(unix.IPPROTO_IPV6), int32(unix.IPV6_TCLASS)
		if r.to.v4 {
			level, kind = unix.IPPROTO_IP, unix.IP_TOS
		}
		var value [4]byte
		binary.NativeEndian.PutUint32(value[:], uint32(r.ecn))
		b = appendControl(b, level, kind, value[:])
	}
	if segments {
		var value [2]byte
		binary.NativeEndian.PutUint16(value[:], uint16(r.segment)) //nolint:gosec // a datagram's size
		b = appendControl(b, unix.IPPROTO_UDP, unix.UDP_SEGMENT, value[:])
	}
	h.Control = nil
	if len(b) > 0 {
		h.Control = &buffer[0]
	}
	h.SetControllen(len(b))
}

// appendControl appends a control message to b, which has room for it.
func appendControl(b []byte, level, kind int32, value []byte) []byte {
	at := len(b)
	b = b[:at+unix.CmsgSpace(len(value))]
	clear(b[at:])
	c := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	c.Level, c.Type = level, kind
	c.SetLen(unix.CmsgLen(len(value)))
	copy(b[at+unix.CmsgLen(0):], value)
	return b
}

// send sends messages and returns how many were sent. If that is not all, errno is
// why the next one was not.
func send(fd int, messages []unix.Mmsghdr) (int, unix.Errno) {
	sent := 0
	for sent < len(messages) {
		if sent == len(messages)-1 {
			_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[sent].Hdr)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 {
				return sent, errno
			}
			return sent + 1, 0
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[sent])),
			uintptr(len(messages)-sent), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return sent, errno
		}
		sent += int(n)
	}
	return sent, 0
}
