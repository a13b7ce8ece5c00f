package mint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// ConnectionIDConfig says what the connection IDs of a server look like.
type ConnectionIDConfig struct {
	// Length of every ID in octets, 1 to 20; 0 is 20. It stays as it is while
	// configurations come and go, because most servers know one length; what a
	// configuration does not need is filled with random octets. With less than
	// 20, see that every configuration to come fits in.
	Length int
	// EncodeLength puts the number of octets that follow the first into the low
	// five bits of the first, for hardware in front that must know. Otherwise
	// they are random. It is for the scheme quic-lb.
	EncodeLength bool
}

// ConnectionIDs mints the connection IDs of a QUIC or DTLS server: of the
// scheme quic-lb, or of any other by which a mark can be put into an ID. Each
// ID is minted by the assignment of that moment, so a rotation needs no
// restart; connections that are there keep their IDs, which balancers know as
// long as the generation lives. It is safe for concurrent use.
//
// Nonces of quic-lb never repeat, not even over a restart or between several
// ConnectionIDs of one Client: the state file says which are gone.
type ConnectionIDs struct {
	// Immutable.
	client *Client
	cfg    ConnectionIDConfig

	lost atomic.Uint64 // IDs that cannot be routed
	well atomic.Bool   // the last one could; for the log
}

// ConnectionIDs returns a source of connection IDs.
func (c *Client) ConnectionIDs(cfg ConnectionIDConfig) (*ConnectionIDs, error) {
	if cfg.Length == 0 {
		cfg.Length = quiclb.MaxLength
	}
	if cfg.Length < 1 || cfg.Length > quiclb.MaxLength {
		return nil, fmt.Errorf("mint: connection IDs of %d octets; they have 1 to %d", cfg.Length, quiclb.MaxLength)
	}
	ids := &ConnectionIDs{client: c, cfg: cfg}
	ids.well.Store(true)
	return ids, nil
}

// Length returns the length of every ID in octets.
func (ids *ConnectionIDs) Length() int { return ids.cfg.Length }

// Unroutable returns how many IDs were minted that balancers cannot route.
func (ids *ConnectionIDs) Unroutable() uint64 { return ids.lost.Load() }

// Append mints a connection ID and appends it to dst. While there is no
// assignment, or when its nonces are used up, the ID is one that cannot be
// routed (it begins with the codepoint 0b111, which is nobody's): balancers
// then go by the client's address, and the connection does not survive when
// that changes. The log says so once, and why.
func (ids *ConnectionIDs) Append(dst []byte) []byte {
	var err error
	for k := ids.client.state.Load().mint; k != nil; {
		var id []byte
		if id, err = ids.mint(dst, k); err == nil {
			ids.note(nil)
			return id
		}
		next := ids.client.state.Load().mint
		if next == k {
			break
		}
		k = next // it came into effect just now
	}
	if err == nil {
		err = ErrNothingToMint
	}
	ids.lost.Add(1)
	ids.note(err)
	return ids.appendUnroutable(dst)
}

// appendUnroutable appends an ID that is nobody's: the codepoint 0b111, the
// length, which such IDs must have there, and random octets. In planned ranges
// and bits it is the slot that is never assigned.
func (ids *ConnectionIDs) appendUnroutable(dst []byte) []byte {
	var buf [quiclb.MaxLength]byte
	id := buf[:ids.cfg.Length]
	_, _ = rand.Read(id) // never fails, by its documentation
	id[0] = byte(quiclb.Unroutable)<<5 | byte(len(id)-1)
	return append(dst, id...)
}

// note tells the log when IDs stop to be routable, and when they are again.
func (ids *ConnectionIDs) note(err error) {
	well := err == nil
	if ids.well.Load() == well || !ids.well.CompareAndSwap(!well, well) {
		return
	}
	if well {
		ids.client.log.Info("connection IDs can be routed again")
		return
	}
	ids.client.log.Warn("minting connection IDs that cannot be routed", slog.Any("error", err))
}

// mint mints an ID under k.
func (ids *ConnectionIDs) mint(dst []byte, k *key) ([]byte, error) {
	var buf [quiclb.MaxLength]byte
	id := buf[:ids.cfg.Length]
	switch {
	case k.codec != nil:
		return ids.mintQUICLB(dst, k)
	case k.bits != nil:
		if k.bits.end() > len(id) {
			return dst, fmt.Errorf("the mark of %v needs IDs of %d octets; they have %d", k, k.bits.end(), len(id))
		}
		_, _ = rand.Read(id) // never fails, by its documentation
		k.bits.set(id)
	case k.encoder != nil:
		if NameSize > len(id) {
			return dst, fmt.Errorf("a sealed mark needs IDs of %d octets; they have %d", NameSize, len(id))
		}
		_, _ = rand.Read(id[NameSize:])
		k.encoder.AppendRaw(id[:0])
	default:
		return dst, errors.New("the space of this server has no place in connection IDs")
	}
	return append(dst, id...), nil
}

func (ids *ConnectionIDs) mintQUICLB(dst []byte, k *key) ([]byte, error) {
	extra := ids.cfg.Length - k.codec.Length()
	if extra < 0 {
		return dst, fmt.Errorf("the configuration of %v needs IDs of %d octets; they have %d", k, k.codec.Length(), ids.cfg.Length)
	}
	var buf [quiclb.MaxNonceLength]byte
	nonce, err := ids.client.nonce(k, buf[:0])
	if err != nil {
		return dst, err
	}
	var random [quiclb.MaxLength]byte // the low bits, then what fills the ID up
	if extra > 0 || !ids.cfg.EncodeLength {
		_, _ = rand.Read(random[:1+extra]) // never fails, by its documentation
	}
	low := random[0]
	if ids.cfg.EncodeLength {
		low = byte(ids.cfg.Length - 1)
	}
	return k.codec.Append(dst, low, k.QUICLB.ServerID, nonce, random[1:1+extra])
}
