// Package metrics holds every metric that Mintmark exposes, so that names and
// labels stand in one place.
package metrics
