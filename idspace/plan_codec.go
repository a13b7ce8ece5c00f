package idspace

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace/sealed"
)

const (
	// planVersion is the version of the document. It changes when a program
	// that knows only the one before would misread it.
	planVersion = 1
	// MaxPlanBytes is the longest plan that ParsePlan reads, so that a wrong
	// path in a configuration does not fill the memory.
	MaxPlanBytes = 64 << 20
)

// planDocument is a plan as JSON. The order of fields is that of the document.
type planDocument struct {
	Version        int                  `json:"mintmark_plan"`
	Revision       uint64               `json:"revision"`
	Scheme         schemeDocument       `json:"scheme"`
	NextGeneration uint64               `json:"next_generation"`
	Members        []memberDocument     `json:"members"`
	Generations    []generationDocument `json:"generations"`
}

type schemeDocument struct {
	Kind     SchemeKind `json:"kind"`
	MarkBits int        `json:"mark_bits,omitzero"`
	Reserve  Fraction   `json:"reserve,omitzero"`
}

type memberDocument struct {
	Owner Owner  `json:"owner"`
	Share uint32 `json:"share"`
}

type generationDocument struct {
	Number    uint64          `json:"number"`
	State     GenerationState `json:"state"`
	RetiredAt planTime        `json:"retired_at,omitzero"`
	MarkBits  int             `json:"mark_bits,omitzero"`
	Quantum   uint64          `json:"values_per_share"`
	Key       keyDocument     `json:"mark_key,omitzero"`
	Spaces    []spanDocument  `json:"spaces"`
}

type spanDocument struct {
	Owner     Owner    `json:"owner"`
	First     uint64   `json:"first"`
	Count     uint64   `json:"count"`
	Retired   bool     `json:"retired,omitzero"`
	RetiredAt planTime `json:"retired_at,omitzero"`
}

// Encode returns the document of p: JSON, the same bytes for the same plan. A
// sealed plan's document holds its mark keys in the clear, so it belongs in a
// file that only its owner can read.
func (p *Plan) Encode() []byte { return p.encode() }

func (p *Plan) encode() []byte {
	d := planDocument{
		Version: planVersion, Revision: p.revision, NextGeneration: p.next,
		Scheme:      schemeDocument(p.scheme),
		Members:     make([]memberDocument, 0, len(p.members)),
		Generations: make([]generationDocument, 0, len(p.generations)),
	}
	for _, m := range p.members {
		d.Members = append(d.Members, memberDocument(m))
	}
	for i := range p.generations {
		g := &p.generations[i]
		gd := generationDocument{
			Number: g.number, State: g.state, RetiredAt: planTime(g.retiredAt), MarkBits: g.markBits,
			Quantum: g.quantum, Key: keyDocument(g.key), Spaces: make([]spanDocument, 0, len(g.spans)),
		}
		for _, s := range g.spans {
			gd.Spaces = append(gd.Spaces, spanDocument{
				Owner: s.owner, First: s.first, Count: s.count, Retired: s.retired, RetiredAt: planTime(s.retiredAt),
			})
		}
		d.Generations = append(d.Generations, gd)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&d); err != nil {
		panic(fmt.Sprintf("idspace: internal error: writing a plan: %v", err))
	}
	return b.Bytes()
}

// MarshalJSON returns an error: the document of a plan may hold mark keys, and
// must not end in a log or an answer because something that holds a plan was
// written as JSON. Encode is for those who mean it, Spaces for those who show.
func (p *Plan) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a plan is not written by accident; use Encode, or show its Spaces")
}

// ParsePlan reads the document of a plan, which must be one that Encode wrote,
// but for white space. It checks everything that a plan promises: what it
// returns is as good as the plan that was written.
func ParsePlan(data []byte) (*Plan, error) {
	p, err := parsePlan(data)
	if err != nil {
		return nil, fmt.Errorf("reading a plan: %w", err)
	}
	return p, nil
}

func parsePlan(data []byte) (*Plan, error) {
	if len(data) > MaxPlanBytes {
		return nil, fmt.Errorf("it has %d bytes, and a plan at most %d", len(data), MaxPlanBytes)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty")
	}
	// The version first: another version may have fields that this one lacks.
	var v struct {
		Version *int `json:"mintmark_plan"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, explainJSON(data, err)
	}
	if v.Version == nil {
		return nil, errors.New(`it is not a plan: the field "mintmark_plan" is missing`)
	}
	if *v.Version != planVersion {
		return nil, fmt.Errorf("it is of version %d, and this program knows version %d", *v.Version, planVersion)
	}
	var d planDocument
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, explainJSON(data, err)
	}
	p := d.plan()
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("it is not sound: %w", err)
	}
	// The decoder forgives fields that are given twice, in another case or as
	// null. A plan decides who owns what: nothing in it is open to reading.
	var given, want bytes.Buffer
	if err := errors.Join(json.Compact(&given, data), json.Compact(&want, p.encode())); err != nil {
		return nil, err
	}
	if !bytes.Equal(given.Bytes(), want.Bytes()) {
		return nil, errors.New("it was changed by hand (a field is given twice, out of order, or written otherwise); restore the plan that was written")
	}
	return p, nil
}

// explainJSON says where in data an error of the decoder is.
func explainJSON(data []byte, err error) error {
	line := func(offset int64) int {
		return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", line(e.Offset), e)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "the document"
		if e.Field != "" {
			what = fmt.Sprintf("the field %q", e.Field)
		}
		return fmt.Errorf("line %d: %s cannot be %s %s", line(e.Offset), what, article(e.Value), e.Value)
	}
	return err
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") || strings.HasPrefix(noun, "o") {
		return "an"
	}
	return "a"
}

// plan returns the plan of d, which may be none.
func (d *planDocument) plan() *Plan {
	p := &Plan{revision: d.Revision, next: d.NextGeneration, scheme: Scheme(d.Scheme)}
	for _, m := range d.Members {
		p.members = append(p.members, Member(m))
	}
	for _, gd := range d.Generations {
		g := generation{
			number: gd.Number, state: gd.State, retiredAt: time.Time(gd.RetiredAt), markBits: gd.MarkBits,
			quantum: gd.Quantum, key: sealed.Key(gd.Key),
		}
		for _, s := range gd.Spaces {
			g.spans = append(g.spans, span{
				owner: s.Owner, first: s.First, count: s.Count, retired: s.Retired, retiredAt: time.Time(s.RetiredAt),
			})
		}
		p.generations = append(p.generations, g)
	}
	return p
}

// planTime is a time in whole seconds, UTC; the zero time is not written.
type planTime time.Time

// IsZero lets encoding/json leave the time out.
func (t planTime) IsZero() bool { return time.Time(t).IsZero() }

// MarshalText writes t as RFC 3339 does.
func (t planTime) MarshalText() ([]byte, error) {
	return time.Time(t).AppendFormat(nil, time.RFC3339), nil
}

// UnmarshalText reads what MarshalText writes.
func (t *planTime) UnmarshalText(text []byte) error {
	read, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("reading the time %q: want one like 2026-01-02T15:04:05Z", text)
	}
	*t = planTime(read.UTC())
	return nil
}

// keyDocument is a mark key that is meant to be written.
type keyDocument sealed.Key

// IsZero lets encoding/json leave out that there is no key.
func (k keyDocument) IsZero() bool { return sealed.Key(k).IsZero() }

// MarshalText writes k in hexadecimal.
func (k keyDocument) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, sealed.Key(k).Reveal()), nil
}

// UnmarshalText reads what MarshalText writes.
func (k *keyDocument) UnmarshalText(text []byte) error {
	key, err := sealed.ParseKey(string(text))
	*k = keyDocument(key)
	return err
}

// ParseFraction reads what String writes, such as "1/2".
func ParseFraction(s string) (Fraction, error) {
	num, den, ok := strings.Cut(s, "/")
	n, errN := strconv.ParseUint(num, 10, 32)
	d, errD := strconv.ParseUint(den, 10, 32)
	if !ok || errN != nil || errD != nil || n >= d {
		return Fraction{}, fmt.Errorf("reading the fraction %q: want one of at least 0 and less than 1, such as 1/2", s)
	}
	return Fraction{Num: uint32(n), Den: uint32(d)}, nil
}

// String writes f as in "1/2".
func (f Fraction) String() string { return fmt.Sprintf("%d/%d", f.Num, f.Den) }

// MarshalText writes f as String does.
func (f Fraction) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what ParseFraction reads.
func (f *Fraction) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFraction(string(text))
	return err
}
