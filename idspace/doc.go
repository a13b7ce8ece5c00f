// Package idspace gives owners disjoint parts of a space of session IDs and
// finds the owner of an ID.
//
// A session ID is any value that a server assigns and a client sends back: a
// TLS ticket, a QUIC connection ID, a cookie. If every server mints IDs of a
// part of the space that is its own, whoever knows the parts can send a
// message to the server that minted its ID by looking at the ID alone, without
// a table of sessions. This package holds that knowledge: how parts are
// written down (rules), how the owner of an ID is found fast (tables), and how
// parts are given out and taken back (plans). It knows no protocol, no server
// and no network, and imports the standard library only.
//
// # Rules
//
// A [Rule] writes down one space, which is a set of IDs, and its [Owner], the
// name of a server or group. There are two ways of writing it:
//
//   - [Range]: the first N bytes of the ID, read as an unsigned big-endian
//     number, lie between two bounds, both included. N is the length of the
//     bounds, 1 to [MaxRangeBytes].
//   - [Bits]: some bits of the ID equal those of one of some values. A mask of
//     any shape selects the bits in a window of up to [MaxMaskBytes] bytes,
//     which is found by an offset from the start of the ID or from its end.
//     [Prefix] and [Suffix] spell the two commonest cases.
//
// An ID that is shorter than a rule demands does not match it, and what
// follows the part that a rule looks at is the server's to choose. A rule can
// be bound to some fields ([Rule.Fields]); then it says nothing about IDs that
// stand elsewhere in a message. [Rule.Matches] is the definition of all this
// in a dozen lines; a table answers the same and fast.
//
// The third way is not written down but computed: a [Function] maps an ID to
// the number of its server, for instance by decrypting a part of it. A table
// has either rules or one function.
//
// # Tables
//
// [Compile] turns rules into a [Table], and [CompileFunction] a function. A
// table never changes: it keeps copies of all it is given and may be used by
// any number of goroutines at once. [Table.Lookup] does not allocate.
//
// The rules of a table are disjoint, and Compile proves it: if some ID lies in
// the spaces of two rules, of one owner or of two, Compile fails with an
// [OverlapError] that names both and an ID that both claim. The proof is exact
// for rules of every kind against rules of every kind: there is no false
// alarm, and no overlap gets through. Two rules that are bound to different
// fields never overlap.
//
// Two consequences are worth knowing before writing rules:
//
//   - A rule on the start of the ID and a rule on the end of IDs of any length
//     always overlap, because an ID may start as the one wants and end as the
//     other wants. State the length ([Bits.IDLength]), or bind them to
//     different fields.
//   - Two bits rules whose masks have no bit in common always overlap, for the
//     same reason.
//
// Compile reports every problem at once, joined as [errors.Join] does, up to
// [MaxProblems]: a [RuleError] for each mistake in a rule by itself, and an
// OverlapError for each pair of rules that was seen to overlap. Of rules that
// overlap many others not every pair is listed, but of every pair at least one
// rule is named.
//
// # Shares
//
// [Table.Share], [Table.ShareOfLength] and [Table.LargestShare] tell, exactly,
// how much of the space belongs to each owner and to anybody. A share is the
// chance that an ID of random bytes lies in a space. It depends on the field,
// when rules are bound to fields, and on the length of the ID, when rules need
// or state one; [Share] says how these are treated. [Table.AssignedShare] is
// the total as a number that is at hand when a message is decided on: a random
// value is mistaken for a minted one that often.
//
// # Inside
//
// Fields for which the same rules are visible make a class, and each class has
// an index of its own, so that a lookup never asks whether a rule it found is
// bound to another field. A rule that is visible in several classes is indexed
// in each.
//
// Ranges of all lengths become intervals of 256-bit numbers, sorted. The last
// interval that begins at or before the ID is found by interpolation: a node
// spreads the intervals below it over about as many buckets, and a bucket
// that is still crowded (the intervals cluster) is a node again, over the part
// of the space that its intervals occupy. The depth depends on how the
// intervals cluster, not on how many there are: 1 where they are spread
// evenly, 3 for a hundred thousand numbers in decimal digits.
//
// Bits rules are grouped by shape (offset, direction, length and mask), of
// which there may be [MaxShapes]. Each shape is a hash table of its values,
// and a lookup tries one after the other. The hash is keyed with random
// numbers, because IDs come from anybody: who does not know the key cannot
// choose IDs that collide. Before hashing, one byte of the ID is compared with
// the values that it may have in the shape, so a shape whose tag the ID does not
// carry costs next to nothing.
//
// Disjointness is proven without comparing each rule with each other. Ranges
// are compared with their neighbours. Two shapes are compared on the bits that
// both select: the values of one are entered into a hash table under these
// bits and the values of the other looked up. A range and a shape are compared
// by turning the range into one or two intervals of masked values (see
// maskedIntervals), in which a sorted list of the values is searched. So
// compiling takes time in proportion to rules times shapes times the logarithm
// of the rules, and about a second for a million rules.
package idspace
