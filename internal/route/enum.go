package route

import (
	"fmt"
	"slices"
	"strings"
)

// The enumerations below are spelled as the configuration file, the metrics
// and the command line spell them. Each has String, MarshalText and
// UnmarshalText, and a Parse function; parsing is the inverse of String.

// A Policy chooses a server for new traffic.
type Policy uint8

// The policies.
const (
	// RoundRobin takes the servers in turn, as often as their weights say and
	// evenly spread. Replicas take turns independently.
	RoundRobin Policy = iota
	// LeastConnections takes the server with the fewest connections for its
	// weight, as far as this replica knows.
	LeastConnections
	// RandomTwo draws two servers by weight and takes the one with fewer
	// connections for its weight.
	RandomTwo
	// Hash takes the server to which the client's address, without its port,
	// hashes. It is Maglev (Eisenbud and others, NSDI 2016, 3.4) over the
	// configured servers and weights, so that every replica gives the same
	// answer; a server that does not take new traffic is passed over by
	// walking on in the table. A client without an address (on a unix socket)
	// is served as by RoundRobin.
	//
	// H(b) is FNV-1a of 64 bits over b, then the finalizer of MurmurHash3
	// (fmix64). A server with weight w > 0 visits the slots (offset + j*skip)
	// mod M for j = 0, 1, ..., where offset = H(name) mod M and skip =
	// H(name, 0xff) mod (M-1) + 1. Servers take turns in the order of their
	// names. In each round a server adds w to its credit, which starts at
	// wmax-w, and takes its next free slot when the credit has reached wmax,
	// the largest weight, which it then pays. M is 65537, or 4093 when that
	// gives the lightest server 100 slots. The slot of a client is the upper
	// half of the 128-bit product of M and H(the address as 16 bytes, IPv4 as
	// ::ffff:a.b.c.d).
	Hash
)

// WhenOwnerDown says what happens to an ID whose owner does not take traffic.
type WhenOwnerDown uint8

// What can happen when an owner is down.
const (
	// OwnerDownGroup sends it to a server of the owner's group, by the group's
	// policy; when none is available, as OwnerDownBalance.
	OwnerDownGroup WhenOwnerDown = iota
	// OwnerDownBalance sends it to any server, by the pool's policy.
	OwnerDownBalance
	// OwnerDownRefuse refuses it.
	OwnerDownRefuse
)

// UnknownIDs says what happens to a message with an ID of nobody or with no ID.
type UnknownIDs uint8

// What can happen to unknown IDs.
const (
	// UnknownBalance sends it to any server, by the pool's policy.
	UnknownBalance UnknownIDs = iota
	// UnknownRefuse refuses it, the first visit of a new client included. It
	// is for pools all of whose IDs are known beforehand. Of datagrams it
	// refuses only those that cannot open a session; see Facts.Opening.
	UnknownRefuse
)

// RandomIDs says whether a TLS session_id, which may be random, is looked up.
type RandomIDs uint8

// When a session_id is looked up.
const (
	// RandomAuto looks it up while at most 1/65536 of all session_ids are
	// assigned, or when the hello cannot be TLS 1.3 and carries no ticket, so
	// that its client has no reason to invent a session_id.
	RandomAuto RandomIDs = iota
	// RandomRoute always looks it up.
	RandomRoute
	// RandomSkip never does.
	RandomSkip
)

// EarlyData says where a hello with early data may go when its owner is away.
type EarlyData uint8

// Where early data may go.
const (
	// EarlyOwnerOnly lets nobody but the owner accept early data.
	EarlyOwnerOnly EarlyData = iota
	// EarlyAllow treats a hello with early data as any other.
	EarlyAllow
)

// HealthType is what a health check does.
type HealthType uint8

// The health checks.
const (
	// HealthNone asks nothing: only failing connects show that a server is down.
	HealthNone HealthType = iota
	// HealthTCP connects.
	HealthTCP
	// HealthTLS connects and shakes hands.
	HealthTLS
	// HealthQUIC asks a QUIC server for Version Negotiation.
	HealthQUIC
	// HealthDTLS sends a DTLS server a ClientHello.
	HealthDTLS
	// HealthHTTP sends a request.
	HealthHTTP
)

// ProxyVersion is the version of the PROXY protocol to send.
type ProxyVersion uint8

// The versions of the PROXY protocol.
const (
	ProxyNone ProxyVersion = iota // no header
	ProxyV1                       // the line of text
	ProxyV2                       // the binary header
)

// RoutedBy says why a message goes where it goes. Its names are the values of
// the metrics' label routed_by.
type RoutedBy uint8

// Why a message goes where it goes.
const (
	ByMint    RoutedBy = iota // to the owner of its ID
	ByGroup                   // to a server that shares the owner's state
	ByLearned                 // to the server that was seen to assign its ID
	ByBalance                 // to any server, by policy
	ByRefused                 // nowhere
)

// NumRoutedBy is the number of values of RoutedBy. It sizes tables that are
// indexed by it.
const NumRoutedBy = int(ByRefused) + 1

func policyNames() []string {
	return []string{"round-robin", "least-connections", "random-two", "hash"}
}
func whenOwnerDownNames() []string { return []string{"group", "balance", "refuse"} }
func unknownIDsNames() []string    { return []string{"balance", "refuse"} }
func randomIDsNames() []string     { return []string{"auto", "route", "skip"} }
func earlyDataNames() []string     { return []string{"owner_only", "allow"} }
func healthTypeNames() []string    { return []string{"none", "tcp", "tls", "quic", "dtls", "http"} }
func proxyVersionNames() []string  { return []string{"none", "v1", "v2"} }
func routedByNames() []string {
	return []string{"mint", "group", "learned", "balance", "refused"}
}

// ParsePolicy returns the policy of that name. Its error, as those of the
// other Parse functions, lists the names that there are.
func ParsePolicy(name string) (Policy, error) { return parse[Policy](policyNames(), name) }

// ParseWhenOwnerDown returns the value of that name.
func ParseWhenOwnerDown(name string) (WhenOwnerDown, error) {
	return parse[WhenOwnerDown](whenOwnerDownNames(), name)
}

// ParseUnknownIDs returns the value of that name.
func ParseUnknownIDs(name string) (UnknownIDs, error) {
	return parse[UnknownIDs](unknownIDsNames(), name)
}

// ParseRandomIDs returns the value of that name.
func ParseRandomIDs(name string) (RandomIDs, error) { return parse[RandomIDs](randomIDsNames(), name) }

// ParseEarlyData returns the value of that name.
func ParseEarlyData(name string) (EarlyData, error) { return parse[EarlyData](earlyDataNames(), name) }

// ParseHealthType returns the health check of that name.
func ParseHealthType(name string) (HealthType, error) {
	return parse[HealthType](healthTypeNames(), name)
}

// ParseProxyVersion returns the version of that name.
func ParseProxyVersion(name string) (ProxyVersion, error) {
	return parse[ProxyVersion](proxyVersionNames(), name)
}

// ParseRoutedBy returns the value of that name.
func ParseRoutedBy(name string) (RoutedBy, error) { return parse[RoutedBy](routedByNames(), name) }

// String returns the name of p in the configuration file.
func (p Policy) String() string { return text("policy", policyNames(), p) }

// String returns the name of w in the configuration file.
func (w WhenOwnerDown) String() string { return text("when_owner_down", whenOwnerDownNames(), w) }

// String returns the name of u in the configuration file.
func (u UnknownIDs) String() string { return text("unknown_ids", unknownIDsNames(), u) }

// String returns the name of r in the configuration file.
func (r RandomIDs) String() string { return text("random_ids", randomIDsNames(), r) }

// String returns the name of e in the configuration file.
func (e EarlyData) String() string { return text("early_data", earlyDataNames(), e) }

// String returns the name of h in the configuration file.
func (h HealthType) String() string { return text("health", healthTypeNames(), h) }

// String returns the name of v in the configuration file.
func (v ProxyVersion) String() string { return text("proxy_protocol", proxyVersionNames(), v) }

// String returns the value of the label routed_by. It does not allocate for
// the values that there are.
func (r RoutedBy) String() string {
	switch r {
	case ByMint:
		return "mint"
	case ByGroup:
		return "group"
	case ByLearned:
		return "learned"
	case ByBalance:
		return "balance"
	case ByRefused:
		return "refused"
	}
	return text("routed_by", routedByNames(), r)
}

// MarshalText implements encoding.TextMarshaler.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Policy) UnmarshalText(b []byte) error { return unmarshal(p, ParsePolicy, b) }

// MarshalText implements encoding.TextMarshaler.
func (w WhenOwnerDown) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *WhenOwnerDown) UnmarshalText(b []byte) error { return unmarshal(w, ParseWhenOwnerDown, b) }

// MarshalText implements encoding.TextMarshaler.
func (u UnknownIDs) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *UnknownIDs) UnmarshalText(b []byte) error { return unmarshal(u, ParseUnknownIDs, b) }

// MarshalText implements encoding.TextMarshaler.
func (r RandomIDs) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RandomIDs) UnmarshalText(b []byte) error { return unmarshal(r, ParseRandomIDs, b) }

// MarshalText implements encoding.TextMarshaler.
func (e EarlyData) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *EarlyData) UnmarshalText(b []byte) error { return unmarshal(e, ParseEarlyData, b) }

// MarshalText implements encoding.TextMarshaler.
func (h HealthType) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HealthType) UnmarshalText(b []byte) error { return unmarshal(h, ParseHealthType, b) }

// MarshalText implements encoding.TextMarshaler.
func (v ProxyVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *ProxyVersion) UnmarshalText(b []byte) error { return unmarshal(v, ParseProxyVersion, b) }

// MarshalText implements encoding.TextMarshaler.
func (r RoutedBy) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RoutedBy) UnmarshalText(b []byte) error { return unmarshal(r, ParseRoutedBy, b) }

func parse[T ~uint8](names []string, name string) (T, error) {
	if i := slices.Index(names, name); i >= 0 {
		return T(i), nil
	}
	last := len(names) - 1
	return 0, fmt.Errorf("%q is not %s or %s", name, strings.Join(names[:last], ", "), names[last])
}

func text[T ~uint8](kind string, names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(v))
}

func unmarshal[T any](v *T, parse func(string) (T, error), b []byte) error {
	parsed, err := parse(string(b))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}
