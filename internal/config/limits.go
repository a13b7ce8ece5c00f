package config

import "time"

// Bounds of the file itself. The file is trusted more than the network, but it
// may come out of a template, or through an API one day.
const (
	// MaxFileSize is the largest file that is read, more than 100,000 rules. It
	// stops a wrong path (a log, a device) from filling the memory; the YAML
	// parser takes about 120 bytes for each byte of the file (go-yaml 1.19.2).
	MaxFileSize = 8 << 20
	// MaxPlanSize is the largest plan file that is read.
	MaxPlanSize = 64 << 20
	// MaxDepth is how deep mappings and lists may be nested. The schema needs
	// nine levels; the parser recurses, so a file of brackets must not get to it.
	MaxDepth = 32
	// MaxKeys is how many keys a mapping may have. No mapping of the schema
	// has more than thirty, and the parser's time grows with the square.
	MaxKeys = 256
	// MaxAliased is how many values aliases and merge keys may add to those
	// that are written out, so that a small file cannot stand for a huge one.
	MaxAliased = 100_000
	// MaxMissing is how many settings and list items may stand without a value.
	// Each is a problem anyway, and the YAML parser takes time that grows with
	// the square of their number.
	MaxMissing = 1000
	// MaxProblems is how many problems are reported. A file that is not a
	// configuration at all would otherwise have one for each of its lines.
	MaxProblems = 200
)

// Bounds of values.
const (
	// MaxNameLength bounds names, which become metric labels and log fields.
	MaxNameLength = 64
	// MaxConnections is the largest limit on connections that can be written.
	MaxConnections = 100_000_000
	// MaxThreshold bounds the rise and fall of health checks.
	MaxThreshold = 1000
	// MaxIDs is how many places for IDs a listener may have. Each request is
	// searched for all of them.
	MaxIDs = 16
	// MaxJSONLimit is the longest body that can be read for an ID: all of it is
	// in memory until the server is known.
	MaxJSONLimit = 16 << 20
	// maxErrorBody is the longest text of an error.
	maxErrorBody = 16 << 10
	// maxUnixPath is what sun_path of a socket address holds on Linux (unix(7)).
	maxUnixPath = 107

	maxTimeout  = time.Hour
	maxLifetime = 3650 * 24 * time.Hour
)
