package quiclb

import (
	"errors"
	"fmt"
)

// The limits of the draft. Lengths are in octets.
const (
	// MinServerIDLength and MaxServerIDLength bound a server ID.
	MinServerIDLength = 1
	MaxServerIDLength = 15
	// MinNonceLength and MaxNonceLength bound a nonce.
	MinNonceLength = 4
	MaxNonceLength = 18
	// MaxBlockLength bounds server ID and nonce together: a QUIC version 1
	// connection ID has at most MaxLength octets, and the first is taken.
	MaxBlockLength = MaxLength - 1
	// MaxLength is the longest connection ID that is minted, the limit of QUIC
	// version 1 (RFC 9000, 17.2). Longer ones are still decoded.
	MaxLength = 20
	// MaxConfigs is how many configurations can be live at a time.
	MaxConfigs = 7

	// singlePassLength is the length of server ID and nonce together at which
	// they are one AES block.
	singlePassLength = 16
)

// A ConfigID is the three configuration rotation bits of the first octet: 0 to
// 6 for a configuration, Unroutable for none.
type ConfigID uint8

// Unroutable is the codepoint 0b111. A server that has no configuration mints
// connection IDs that begin with it, and no configuration may use it.
const Unroutable ConfigID = 7

const (
	configShift = 5    // the configuration ID is in bits 7 to 5 of the first octet
	lowBits     = 0x1f // bits 4 to 0: length of the rest, or random
)

// ConfigIDOf returns the configuration rotation bits of a connection ID's first
// octet.
func ConfigIDOf(firstOctet byte) ConfigID { return ConfigID(firstOctet >> configShift) }

// An Algorithm turns server ID and nonce into the octets of a connection ID. It
// follows from the lengths and the key; nobody configures it.
type Algorithm uint8

// The algorithms of the draft, section "Server ID Encoding in Connection IDs".
const (
	// Plaintext puts server ID and nonce into the connection ID as they are.
	Plaintext Algorithm = iota + 1
	// SinglePass encrypts them as one AES block. It needs a key, and lengths
	// that add up to 16.
	SinglePass
	// FourPass encrypts them by a Feistel network of four rounds of AES. It needs
	// a key, and is for lengths that do not add up to 16.
	FourPass
)

// String returns the name of a.
func (a Algorithm) String() string {
	switch a {
	case Plaintext:
		return "plaintext"
	case SinglePass:
		return "single-pass"
	case FourPass:
		return "four-pass"
	}
	return fmt.Sprintf("algorithm(%d)", uint8(a))
}

// A Config is what the servers and the balancers of a pool must agree on. It is
// plain data; [New] checks it.
type Config struct {
	// ID is the codepoint, 0 to 6.
	ID ConfigID
	// ServerIDLength is the length of a server ID in octets, 1 to 15.
	ServerIDLength int
	// NonceLength is the length of a nonce in octets, 4 to 18. With
	// ServerIDLength it adds up to at most 19. It also says how many connection
	// IDs each server can mint before it needs another configuration: 4 octets
	// make 2^32.
	NonceLength int
	// Key encrypts. Without one the algorithm is Plaintext.
	Key Key
}

// Algorithm returns the algorithm that c leads to.
func (c Config) Algorithm() Algorithm {
	switch {
	case c.Key.IsZero():
		return Plaintext
	case c.ServerIDLength+c.NonceLength == singlePassLength:
		return SinglePass
	default:
		return FourPass
	}
}

// Validate returns all that is wrong with c, joined, or nil.
func (c Config) Validate() error {
	var problems []error
	if c.ID >= Unroutable {
		problems = append(problems, fmt.Errorf("quiclb: configuration ID is %d; it is 0 to %d", c.ID, Unroutable-1))
	}
	if c.ServerIDLength < MinServerIDLength || c.ServerIDLength > MaxServerIDLength {
		problems = append(problems, fmt.Errorf("quiclb: server ID length is %d octets; it is %d to %d",
			c.ServerIDLength, MinServerIDLength, MaxServerIDLength))
	}
	if c.NonceLength < MinNonceLength || c.NonceLength > MaxNonceLength {
		problems = append(problems, fmt.Errorf("quiclb: nonce length is %d octets; it is %d to %d",
			c.NonceLength, MinNonceLength, MaxNonceLength))
	}
	if problems == nil && c.ServerIDLength+c.NonceLength > MaxBlockLength {
		problems = append(problems, fmt.Errorf("quiclb: server ID and nonce have %d+%d octets; together they have at most %d",
			c.ServerIDLength, c.NonceLength, MaxBlockLength))
	}
	return errors.Join(problems...)
}
