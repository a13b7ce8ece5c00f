// Package lab starts real servers, real clients and real balancers on
// loopback, for the end-to-end tests in package test.
//
// Everything it starts is a process of its own, belongs to one test and is
// ended by its process ID when that test ends; files live in the test's
// temporary directory. Addresses are ports that the kernel hands out on
// loopback addresses drawn at random (see FreeAddr), so tests can run side by
// side. A process counts as started when it accepts connections; waiting is
// polling with a deadline.
//
// A helper that cannot do its work ends the test: a missing program is a
// failure and no reason to pass over a test. The programs are those that
// scripts/install-test-packages installs.
//
// The lab is for Linux.
package lab
