package mint

import (
	"errors"
	"fmt"
	"maps"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// A nonceDocument is what is left of the nonces of a generation, in the state
// file: those that no process has taken out of it yet.
type nonceDocument struct {
	First   []byte `json:"first"`
	Count   uint64 `json:"count"`
	Scatter []byte `json:"scatter,omitempty"`
}

func (d nonceDocument) span() (quiclb.NonceRange, error) {
	r := quiclb.NonceRange{First: d.First, Count: d.Count}
	if d.Scatter == nil {
		return r, nil
	}
	var err error
	r.Scatter, err = quiclb.NewKey(d.Scatter)
	return r, err
}

func nonceDocumentOf(r quiclb.NonceRange) nonceDocument {
	d := nonceDocument{First: r.First, Count: r.Count}
	if !r.Scatter.IsZero() {
		octets := r.Scatter.Octets()
		d.Scatter = octets[:]
	}
	return d
}

// A process takes nonces out of the state file in blocks, and what it has not
// used when it ends is lost. A block is a small part of what is left, so that
// no number of restarts uses them all up, and not so small that the file is
// written often.
const (
	blockShare = 1 << 10
	minBlock   = 1 << 8
	maxBlock   = 1 << 24
)

// lowNonces is the share of its nonces below which a configuration is reported
// as running out: one in so many.
const lowNonces = 8

// carryNonces gives each generation of next what is left of its nonces, and
// new ones, from a random start, to what was not there. A configuration that
// comes back under another generation number is the same configuration.
func carryNonces(next, before *stateDocument) {
	had := before.Nonces // next may be before
	next.Nonces = make(map[uint32]nonceDocument)
	for _, k := range next.Assignment.Keys {
		if k.QUICLB == nil || k.QUICLB.Config.Validate() != nil {
			continue
		}
		next.Nonces[k.Generation] = nonceDocumentOf(quiclb.RandomRange(
			k.QUICLB.Config.NonceLength, k.QUICLB.Config.Algorithm() == quiclb.Plaintext))
		for _, old := range before.Assignment.Keys {
			if left, ok := had[old.Generation]; ok && k.QUICLB.equal(old.QUICLB) {
				next.Nonces[k.Generation] = left
			}
		}
	}
}

// errReplaced is the error of taking nonces for a configuration that has just
// been replaced.
var errReplaced = errors.New("mint: its configuration is another now")

// mints reports whether the generation of k still has the configuration of k,
// whose nonces would otherwise be another's.
func (s *state) mints(k *key) bool {
	for _, now := range s.keys {
		if now.Generation == k.Generation {
			return now.QUICLB.equal(k.QUICLB)
		}
	}
	return false
}

// nonce appends a nonce of k that nobody had before.
func (c *Client) nonce(k *key, dst []byte) ([]byte, error) {
	for {
		block := k.block.Load()
		if block != nil {
			if nonce, err := block.Append(dst); err == nil {
				return nonce, nil
			}
		}
		if err := c.takeNonces(k, block); err != nil {
			return dst, err
		}
	}
}

// takeNonces gives k the next block, unless somebody else already did: used is
// the block that was used up. The file says that the block is gone before the
// first of it is used.
func (c *Client) takeNonces(k *key, used *quiclb.Nonces) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.block.Load() != used {
		return nil
	}
	s := c.state.Load()
	if !s.mints(k) {
		return errReplaced
	}
	left, err := s.doc.Nonces[k.Generation].span()
	if err != nil {
		return err
	}
	if left.Count == 0 {
		return quiclb.ErrExhausted
	}
	head, rest, err := left.Split(min(max(left.Count/blockShare, minBlock), maxBlock, left.Count))
	if err != nil {
		return err
	}
	block, err := quiclb.NewNonces(head)
	if err != nil {
		return fmt.Errorf("the nonces of %v in the state file: %w", k, err)
	}
	doc := *s.doc
	doc.Nonces = maps.Clone(s.doc.Nonces)
	doc.Nonces[k.Generation] = nonceDocumentOf(rest)
	if err := writeState(c.cfg.State, &doc); err != nil {
		return err
	}
	next := *s
	next.doc = &doc
	c.state.Store(&next)
	k.block.Store(block)
	return nil
}

// runsOut reports whether few nonces of k are left.
func (s *state) runsOut(k *key) bool {
	if k == nil || k.codec == nil {
		return false
	}
	left := s.doc.Nonces[k.Generation].Count
	if block := k.block.Load(); block != nil {
		left += min(block.Left(), ^left)
	}
	return left < quiclb.NonceSpace(k.QUICLB.Config.NonceLength)/lowNonces
}
