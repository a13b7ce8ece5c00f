package quiclb

import (
	"crypto/rand"
	"errors"
	"fmt"
)

// A MinterConfig says what a server mints. It is plain data.
type MinterConfig struct {
	// Config is the configuration that the server shares with its balancers.
	Config Config
	// ServerID is the server's own ID, of the length that Config says.
	ServerID ServerID
	// EncodeLength puts the number of octets that follow the first into the
	// first, for hardware that must know how long an ID is. Otherwise those five
	// bits are random.
	EncodeLength bool
	// ExtraOctets is how many random octets follow the block, so many that the
	// whole ID still has at most MaxLength.
	ExtraOctets int
	// Nonces is where nonces come from. It must not have been used with another
	// configuration of the same key, and belongs to the Minter from then on. The
	// default is a source of all nonces, from a random start, scattered for
	// plaintext.
	Nonces *Nonces
}

// A Minter mints the connection IDs of one server under one configuration. It is
// safe for concurrent use: a server has one of them for each configuration, not
// one a thread, as two sources of nonces would meet sooner or later.
type Minter struct {
	codec  *Codec
	config MinterConfig
}

// NewMinter returns a Minter. The error joins all that is wrong with config.
func NewMinter(config MinterConfig) (*Minter, error) {
	codec, err := New(config.Config)
	if err != nil {
		return nil, err
	}
	var problems []error
	if config.ServerID.Len() != config.Config.ServerIDLength {
		problems = append(problems, fmt.Errorf("quiclb: server ID has %d octets; configuration %d has server IDs of %d",
			config.ServerID.Len(), config.Config.ID, config.Config.ServerIDLength))
	}
	if config.ExtraOctets < 0 || codec.need+config.ExtraOctets > MaxLength {
		problems = append(problems, fmt.Errorf("quiclb: %d extra octets; with configuration %d there are 0 to %d",
			config.ExtraOctets, config.Config.ID, MaxLength-codec.need))
	}
	if config.Nonces != nil {
		if config.Nonces.Len() != config.Config.NonceLength {
			problems = append(problems, fmt.Errorf("quiclb: nonces have %d octets; configuration %d has nonces of %d",
				config.Nonces.Len(), config.Config.ID, config.Config.NonceLength))
		}
		// "Server ID Encoding", plaintext: nonces must look unrelated.
		if codec.algorithm == Plaintext && config.Nonces.scatter.block == nil {
			problems = append(problems, errors.New("quiclb: nonces of a plaintext configuration must be scattered; set NonceRange.Scatter"))
		}
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	if config.Nonces == nil {
		config.Nonces, err = NewNonces(RandomRange(config.Config.NonceLength, codec.algorithm == Plaintext))
		if err != nil {
			return nil, err
		}
	}
	return &Minter{codec: codec, config: config}, nil
}

// Config returns what m was made of, with Nonces set.
func (m *Minter) Config() MinterConfig { return m.config }

// Length returns the length of every ID that m mints.
func (m *Minter) Length() int { return m.codec.need + m.config.ExtraOctets }

// Append mints a connection ID and appends it to dst. The error is ErrExhausted,
// then and ever after: the server needs another configuration.
func (m *Minter) Append(dst []byte) ([]byte, error) {
	var buf [MaxLength]byte
	nonce, err := m.config.Nonces.Append(buf[:0])
	if err != nil {
		return dst, err
	}
	var random [MaxLength]byte // the low bits, then the extra octets
	extra := random[1 : 1+m.config.ExtraOctets]
	if m.config.EncodeLength {
		random[0] = byte(m.Length() - 1)
		if len(extra) > 0 {
			_, _ = rand.Read(extra) // never fails: it ends the program instead
		}
	} else {
		_, _ = rand.Read(random[:1+len(extra)])
	}
	return m.codec.Append(dst, random[0], m.config.ServerID, nonce, extra)
}

// MinUnroutableLength is the shortest ID that AppendUnroutable makes: the draft
// wants 8 octets at least, of which 7 look random.
const MinUnroutableLength = 8

// AppendUnroutable appends a connection ID of length octets, 8 to MaxLength, that
// no balancer will decode: 0b111, the length, and random octets. It is what a
// server mints while it has no configuration, or none with a nonce left.
// Balancers route such an ID by the client's address, so it does not survive a
// change of address: the server should announce disable_active_migration and give
// out no further IDs until it has a configuration.
func AppendUnroutable(dst []byte, length int) ([]byte, error) {
	if length < MinUnroutableLength || length > MaxLength {
		return dst, fmt.Errorf("quiclb: unroutable ID of %d octets; it has %d to %d", length, MinUnroutableLength, MaxLength)
	}
	var id [MaxLength]byte
	_, _ = rand.Read(id[1:length]) // never fails: it ends the program instead
	id[0] = byte(Unroutable)<<configShift | byte(length-1)
	return append(dst, id[:length]...), nil
}
