package config

// What the tests of this package see of its inside.

// ParseDuration is parseDuration.
func ParseDuration(s string) (Duration, error) { return parseDuration(s) }

// Nearest is nearest.
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }
