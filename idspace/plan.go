package idspace

import "errors"

// A Plan is the allocation of the spaces of one pool to owners. It is made by
// ParsePlan and NextPlan only, and immutable.
type Plan struct{}

// ParsePlan reads a plan that Encode wrote.
func ParsePlan(data []byte) (*Plan, error) { return nil, errors.ErrUnsupported }

// A Change is what NextPlan does to a plan.
type Change struct{}

// NextPlan returns the plan that follows prev when c is made. It never changes prev.
func NextPlan(prev *Plan, c Change) (*Plan, error) { return nil, errors.ErrUnsupported }

// Encode returns the document of p, always the same bytes for the same plan.
func (p *Plan) Encode() ([]byte, error) { return nil, errors.ErrUnsupported }

// Table compiles all spaces of p that are routed: those that are minted and
// those that are retiring. Owners that are no longer members are among its Owners.
func (p *Plan) Table() (*Table, error) { return nil, errors.ErrUnsupported }

// Members returns the owners that mint, sorted by name.
func (p *Plan) Members() []Member { return nil }

// Kind returns the scheme of p.
func (p *Plan) Kind() SchemeKind { return "" }

// A Member is an owner that shall mint: a server or a group.
type Member struct {
	Owner Owner
	// Share is how large the owner's space is relative to others'; 0 means 1.
	Share uint32
}

// A SchemeKind is the family of rules that a plan uses, as the configuration
// file names it.
type SchemeKind string

// The schemes that can be planned.
const (
	SchemeRanges SchemeKind = "ranges"
	SchemeBits   SchemeKind = "bits"
	SchemeSealed SchemeKind = "sealed"
)
