package route

import (
	"testing"

	"github.com/mintmark/mintmark/idspace"
)

func assigned(t *testing.T, n int) *idspace.Table {
	t.Helper()
	table, err := idspace.Compile([]idspace.Rule{{
		Owner: "a", Range: &idspace.Range{From: []byte{0, 0}, To: []byte{byte((n - 1) >> 8), byte(n - 1)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestDecideRandomIDs(t *testing.T) {
	t.Parallel()
	const id = "\x00\x00 an ID of server a"
	everybody := "a b c d e f"
	with := func(r RandomIDs, n int) func(*PoolConfig) {
		return func(c *PoolConfig) { c.RandomIDs, c.Table = r, assigned(t, n) }
	}
	tls12 := func(f *Facts) { f.OffersTLS13 = false }
	tls12Ticket := func(f *Facts) { f.OffersTLS13, f.HasTicket = false, true }
	found := func(c decisionCase) decisionCase {
		c.want, c.by, c.cause, c.field = "a", ByMint, CauseOwner, idspace.FieldSessionID
		c.ids, c.candidate = []Candidate{sessionID(id)}, 1
		return c
	}
	skipped := func(c decisionCase) decisionCase {
		c.want, c.by, c.cause = everybody, ByBalance, CauseNoID
		c.ids, c.skipped = []Candidate{sessionID(id)}, 1
		return c
	}
	check(t, []decisionCase{
		found(decisionCase{name: "auto, 1/65536 assigned", pool: with(RandomAuto, 1)}),
		skipped(decisionCase{name: "auto, 2/65536 assigned", pool: with(RandomAuto, 2)}),
		found(decisionCase{name: "auto, much assigned, the hello cannot be TLS 1.3", pool: with(RandomAuto, 30000), facts: tls12}),
		skipped(decisionCase{name: "auto, much assigned, not TLS 1.3, but with a ticket", pool: with(RandomAuto, 30000), facts: tls12Ticket}),
		found(decisionCase{name: "route, much assigned", pool: with(RandomRoute, 30000)}),
		skipped(decisionCase{name: "skip, little assigned", pool: with(RandomSkip, 1)}),
		skipped(decisionCase{name: "skip, the hello cannot be TLS 1.3", pool: with(RandomSkip, 1), facts: tls12}),
		{
			name: "only session_id is skipped", pool: with(RandomSkip, 30000), ids: []Candidate{ticket(id), sessionID(id)},
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "a skipped session_id leaves the field to others", pool: with(RandomSkip, 30000),
			ids: []Candidate{ticket("\xff\xff nobody's"), sessionID(id)}, skipped: 1,
			want: everybody, by: ByBalance, cause: CauseUnknownID, field: idspace.FieldTicket,
		},
		{
			name: "a skipped session_id is refused like no ID", ids: []Candidate{sessionID(id)}, skipped: 1,
			pool: func(c *PoolConfig) { with(RandomSkip, 1)(c); c.UnknownIDs = UnknownRefuse },
			by:   ByRefused, cause: CauseNoID,
		},
	})
}

type list map[string]ServerName

func (l list) Server(f idspace.Field, id []byte) (ServerName, bool) {
	s, ok := l[f.String()+" "+string(id)]
	return s, ok
}

func TestDecideLearned(t *testing.T) {
	t.Parallel()
	learned := func(c *PoolConfig) {
		c.Learned = list{"session_id x": "e", "ticket y": "gone", "psk a:1": "f", "session_id nobody": "f"}
	}
	check(t, []decisionCase{
		{
			name: "an ID on the list", ids: []Candidate{psk("nobody"), sessionID("x")}, pool: learned,
			want: "e", by: ByLearned, cause: CauseLearned, field: idspace.FieldSessionID, candidate: 2, overlay: true,
		},
		{
			name: "whole IDs are no accident: a skipped session_id too", ids: []Candidate{sessionID("x")}, skipped: 1,
			pool: func(c *PoolConfig) { learned(c); c.RandomIDs = RandomSkip },
			want: "e", by: ByLearned, cause: CauseLearned, field: idspace.FieldSessionID, candidate: 1, overlay: true,
		},
		{
			name: "an owner comes first", ids: []Candidate{sessionID("x"), psk("a:1")}, pool: learned,
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 2,
		},
		{
			name: "an owner comes first even when it is down", ids: []Candidate{sessionID("x"), psk("a:1")}, pool: learned, state: down("a"),
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 2,
		},
		{
			name: "at its limit", ids: []Candidate{sessionID("x")}, pool: learned, state: fill("e"),
			by: ByRefused, cause: CauseLimit, field: idspace.FieldSessionID, candidate: 1, overlay: true,
		},
		{
			name: "down: an overlay only", ids: []Candidate{sessionID("x")}, pool: learned, state: down("e"),
			want: "a b c d f", by: ByBalance, cause: CauseUnknownID, field: idspace.FieldSessionID,
		},
		{
			name: "a server that is gone", ids: []Candidate{ticket("y"), sessionID("x")}, pool: learned,
			want: "e", by: ByLearned, cause: CauseLearned, field: idspace.FieldSessionID, candidate: 2, overlay: true,
		},
		{
			name: "a list that does not know it", ids: []Candidate{ticket("x")}, pool: learned,
			want: "a b c d e f", by: ByBalance, cause: CauseUnknownID, field: idspace.FieldTicket,
		},
	})
}

// Explain must not even use up a turn.
// hotCases are decisions that data planes make all the time.
