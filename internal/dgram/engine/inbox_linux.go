package engine

// Hot: everything here runs for every batch or datagram. Budget: no allocation.

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/dgram"
)

const (
	// inboxSize is how many messages are received at once. A message is one datagram,
	// or a run of datagrams that the kernel has put together.
	inboxSize = 64
	// inboxStride is the distance of the buffers. It is more than the largest message
	// so that the beginnings of all buffers do not compete for the same few lines of
	// the processor's cache.
	inboxStride = maxDatagram + 4096 + 128
	// controlIn holds the control messages of a received message: UDP_GRO, the ECN
	// bits, and the address that it came to; in IPv6 sockets those of both families.
	controlIn = 128
)

// An inbox holds what was received at once.
type inbox struct {
	buffers  []byte
	headers  [inboxSize]unix.Mmsghdr
	vectors  [inboxSize]unix.Iovec
	names    [inboxSize]unix.RawSockaddrInet6
	controls [inboxSize][controlIn]byte
	named    bool // the kernel is asked where messages come from
}

// A received message.
type received struct {
	data []byte
	// segment is the size of the datagrams that data is made of; the last may be
	// smaller. It is len(data) for a single one.
	segment int
	ecn     uint8
}

// newInbox returns an inbox. named says that senders are wanted: those of connected
// sockets are known.
func newInbox(named bool) *inbox {
	b := &inbox{buffers: make([]byte, inboxSize*inboxStride), named: named}
	for i := range b.headers {
		b.vectors[i].Base = &b.buffers[i*inboxStride]
		b.vectors[i].SetLen(maxDatagram)
		h := &b.headers[i].Hdr
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Control = &b.controls[i][0]
		if named {
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		}
	}
	return b
}

// receive receives up to most messages from fd into the places from first on.
func (b *inbox) receive(fd, first, most int) (int, unix.Errno) {
	for i := first; i < first+most; i++ {
		h := &b.headers[i].Hdr
		h.SetControllen(controlIn)
		if b.named {
			h.Namelen = unix.SizeofSockaddrInet6
		}
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[first])),
			uintptr(most), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		return int(n), errno
	}
}

// message returns the message at place i. local is set when its control messages
// say where it came to.
func (b *inbox) message(i int, local *[16]byte) received {
	h := &b.headers[i]
	m := received{data: b.buffers[i*inboxStride:][:h.Len:h.Len], segment: int(h.Len)}
	control := b.controls[i][:h.Hdr.Controllen]
	for len(control) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(c.Len)
		if size < unix.SizeofCmsghdr || size > len(control) {
			break
		}
		m.read(c, control[unix.CmsgLen(0):size], local)
		control = control[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(control)):]
	}
	return m
}

// read takes in one control message.
func (m *received) read(c *unix.Cmsghdr, data []byte, local *[16]byte) {
	const ecnBits = 3
	switch {
	case c.Level == unix.IPPROTO_UDP && c.Type == unix.UDP_GRO && len(data) >= 2:
		if segment := int(binary.NativeEndian.Uint16(data)); segment > 0 {
			m.segment = segment
		}
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_TOS && len(data) >= 1,
		c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_TCLASS && len(data) >= 4:
		// An octet for IPv4 and an int for IPv6.
		tos := uint32(data[0])
		if len(data) >= 4 {
			tos = binary.NativeEndian.Uint32(data)
		}
		m.ecn = uint8(tos & ecnBits)
	case local == nil:
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		*local = mapped((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Addr)
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		*local = (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr
	}
}

// mapped is an IPv4 address as IPv6 writes it.
func mapped(a [4]byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: a[0], 13: a[1], 14: a[2], 15: a[3]}
}

// client puts the sender of the message at place i into tuple. It returns false for
// a family that no socket of ours has.
func (b *inbox) client(i int, tuple *dgram.Tuple) bool {
	name := &b.names[i]
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		tuple.Client, tuple.ClientPort, tuple.Scope = mapped(v4.Addr), networkOrder(v4.Port), 0
	case unix.AF_INET6:
		tuple.Client, tuple.ClientPort, tuple.Scope = name.Addr, networkOrder(name.Port), name.Scope_id
	default:
		return false
	}
	return true
}

// networkOrder turns a port of a socket address into a number, and back.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
