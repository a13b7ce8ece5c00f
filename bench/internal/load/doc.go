// Package load is the two ends of what bench drives through a proxy: clients
// that do a given number of operations, and the server that they reach.
//
// A Kind is one sort of traffic. Its clients do the same number of the same
// operations whatever proxy is between, either as fast as a fixed number of
// workers can or at a given rate, and fail on the first byte that is not the
// one expected: nothing is measured that did not work.
package load
