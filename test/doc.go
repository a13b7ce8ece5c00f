// Package test holds the end-to-end tests: what the README promises, with
// real servers, real clients and the mintmark command itself, each a process
// of its own. See package lab for how they are started.
//
// The tests here state what somebody outside can see (a session was resumed,
// a connection went on, a metric says so), and never how it comes about.
package test
