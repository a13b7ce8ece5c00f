// Package learn keeps what balancers see servers do: which session ID was
// assigned by which server (List).
//
// The list is an overlay. What rules and plans say comes first, and nothing
// that is learned is needed for an ID that a rule covers; a balancer that
// restarts forgets it all and only loses that. It is for servers whose IDs
// have no mark: TLS session IDs of stock servers, for example.
//
// Attackers can have servers assign as many IDs as they like, so all memory
// is fixed when a list is made, and IDs are kept as salted hashes: nobody can
// choose IDs that crowd one place of the list, and a core dump holds no ID.
package learn
