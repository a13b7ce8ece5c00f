package rollout

import (
	"encoding/json"

	"github.com/mintmark/mintmark/idspace"
)

// schemeDocument is a scheme as the document of a pool keeps it: what was not
// said is left out, so that the defaults stay defaults.
type schemeDocument struct {
	Kind     idspace.SchemeKind `json:"kind"`
	MarkBits int                `json:"mark_bits,omitempty"`
	Reserve  *idspace.Fraction  `json:"reserve,omitempty"`
}

// A Scheme is an idspace.Scheme that can be kept.
type Scheme struct{ idspace.Scheme }

// MarshalJSON writes s.
func (s Scheme) MarshalJSON() ([]byte, error) {
	d := schemeDocument{Kind: s.Kind, MarkBits: s.MarkBits}
	if s.Reserve != (idspace.Fraction{}) {
		d.Reserve = &s.Reserve
	}
	return json.Marshal(d)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Scheme) UnmarshalJSON(b []byte) error {
	var d schemeDocument
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	*s = Scheme{idspace.Scheme{Kind: d.Kind, MarkBits: d.MarkBits}}
	if d.Reserve != nil {
		s.Reserve = *d.Reserve
	}
	return nil
}
