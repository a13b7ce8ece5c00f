package idspace

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// A QUICLBServer says which server has a server ID under a configuration.
type QUICLBServer struct {
	Config quiclb.ConfigID
	ID     quiclb.ServerID
	// Server is the number that the function answers with; see CompileFunction.
	Server uint32
}

// QUICLB returns the function that reads connection IDs of QUIC-LB, in the fields
// cid_short, cid_long, dtls_cid and bytes. The generation that it finds is the
// configuration. It does not allocate.
//
// A server may have several IDs under a configuration. The error joins all that is
// wrong with servers: a configuration that the set does not have, an ID of another
// length than the configuration's, an ID that is given twice, and an ID that is
// used both in the clear and encrypted, which would give away a part of the
// plaintext.
func QUICLB(set *quiclb.Set, servers []QUICLBServer) (Sharer, error) {
	f := &quiclbFunction{set: set, servers: make(map[quiclb.Decoded]uint32, len(servers))}
	inClear := make(map[quiclb.ServerID]bool, len(servers)) // ID to whether it is used without a key
	var found []error
	for _, s := range servers {
		codec := set.Codec(s.Config)
		if codec == nil {
			found = append(found, fmt.Errorf("quic-lb: server ID %v is of configuration %d, which is not there", s.ID, s.Config))
			continue
		}
		if want := codec.Config().ServerIDLength; s.ID.Len() != want {
			found = append(found, fmt.Errorf("quic-lb: server ID %v has %d bytes; server IDs of configuration %d have %d",
				s.ID, s.ID.Len(), s.Config, want))
			continue
		}
		key := quiclb.Decoded{ServerID: s.ID, Config: s.Config}
		if _, taken := f.servers[key]; taken {
			found = append(found, fmt.Errorf("quic-lb: server ID %v is given twice under configuration %d; each server has its own", s.ID, s.Config))
			continue
		}
		f.servers[key] = s.Server
		isClear := codec.Config().Algorithm() == quiclb.Plaintext
		if was, used := inClear[s.ID]; used && was != isClear {
			found = append(found, fmt.Errorf("quic-lb: server ID %v is used by a configuration with a key and by one without; "+
				"whoever sees it in the clear learns what the encrypted IDs say: choose another one", s.ID))
		}
		inClear[s.ID] = isClear
	}
	if found != nil {
		return nil, errors.Join(found...)
	}
	return f, nil
}

// A quiclbFunction is immutable.
type quiclbFunction struct {
	set     *quiclb.Set
	servers map[quiclb.Decoded]uint32
}

// Lookup implements Function.
func (f *quiclbFunction) Lookup(field Field, id []byte) (server uint32, generation uint8, ok bool) {
	if !isConnectionID(field) {
		return 0, 0, false
	}
	decoded, cause := f.set.Decode(id)
	if cause != quiclb.Decodable {
		return 0, 0, false
	}
	server, ok = f.servers[decoded]
	return server, uint8(decoded.Config), ok
}

// isConnectionID reports whether IDs in field may be connection IDs.
func isConnectionID(field Field) bool {
	switch field {
	case FieldCIDShort, FieldCIDLong, FieldDTLSCID, FieldBytes:
		return true
	default:
		return false
	}
}

// Share implements Sharer. A configuration has an eighth of all IDs, and each
// server ID an equal part of that.
func (f *quiclbFunction) Share(field Field, server uint32) *big.Rat {
	if !isConnectionID(field) {
		return nil
	}
	share := new(big.Rat)
	for decoded, owner := range f.servers {
		if owner == server {
			const codepointBits = 3
			ids := new(big.Int).Lsh(big.NewInt(1), uint(codepointBits+8*decoded.ServerID.Len()))
			share.Add(share, new(big.Rat).SetFrac(big.NewInt(1), ids))
		}
	}
	return share
}
