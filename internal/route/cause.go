package route

// A Cause says more of why a message goes where it goes. Its values are a
// contract: they label mintmark_refused_total, and stand in access logs and in
// the output of `mintmark explain`.
type Cause string

// The causes. The first group occurs with messages that are sent on, the
// second with refused ones; CauseOwnerDown and those for unknown IDs occur
// with both.
const (
	// CauseOwner goes with ByMint: the owner takes traffic.
	CauseOwner Cause = "owner"
	// CauseOwnerDraining goes with ByGroup: a ticket of a draining server
	// moves to its partner.
	CauseOwnerDraining Cause = "owner_draining"
	// CauseLearned goes with ByLearned.
	CauseLearned Cause = "learned"

	// CauseOwnerDown goes with ByGroup, ByBalance and ByRefused: the owner
	// does not take traffic, and when_owner_down decided.
	CauseOwnerDown Cause = "owner_down"
	// CauseUnknownID goes with ByBalance and ByRefused: an ID of nobody, and
	// unknown_ids decided.
	CauseUnknownID Cause = "unknown_id"
	// CauseNoID goes with ByBalance and ByRefused: the message had no ID, or
	// none that is looked up, and unknown_ids decided.
	CauseNoID Cause = "no_id"

	// CauseLimit refuses: the owner, or every server that could be chosen, is
	// at its connection limit.
	CauseLimit Cause = "limit"
	// CauseNoServer refuses: no server takes new traffic.
	CauseNoServer Cause = "no_server"
	// CauseEarlyData refuses: the owner of a hello with early data is away,
	// and there is no server that cannot accept its ticket.
	CauseEarlyData Cause = "early_data"
	// CauseTwoOwners refuses: the message has two IDs where there should be
	// one, such as two cookies of one name, and they have different owners.
	CauseTwoOwners Cause = "two_owners"
	// CauseNoRoute refuses: no route of the listener takes the name that the
	// client asked for, and the listener has no pool of its own. The data
	// plane sets it when [Listener.PoolFor] returns nil.
	CauseNoRoute Cause = "no_route"
)
