package config

// What the tests of this package see of its inside.

// ParseDuration is parseDuration.
func ParseDuration(s string) (Duration, error) { return parseDuration(s) }

// Nearest is nearest.
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }

// Aliased returns how many more values are decoded of a file than are written
// in it.
func Aliased(data string) int {
	root, r := parseYAML([]byte(data))
	if root == nil {
		return 0
	}
	_, d := decodeFile(root, r)
	return MaxAliased - d.left
}
