package config

import "time"

// Defaults fills in what a file that says nothing means. v points to one of
// the types of the file; other types, and settings whose default depends on
// other settings, are left alone. It is the one place where defaults stand.
func Defaults(v any) {
	switch v := v.(type) {
	case *File:
		v.ShutdownGrace = Duration(30 * time.Second)
	case *FileControl:
		v.Cache = "snapshot"
		v.TLS = "on"
	case *FileListener:
		v.AccessLogFormat = "text"
		v.Engine = "auto"
		Defaults(&v.Timeouts)
	case *FileTimeouts:
		v.Hello = Duration(5 * time.Second)
		v.Connect = Duration(5 * time.Second)
	case *FileID:
		v.Encoding = "text"
		v.Limit = 64 << 10
		v.OverLimit = "refuse"
	case *FileForwarded:
		v.Policy = "replace"
		v.Headers = "x-forwarded"
	case *FileErrorBody:
		v.ContentType = "text/plain; charset=utf-8"
	case *FileUpstream:
		v.Protocol = "h1"
	case *FileUpstreamTLS:
		v.Verify = true
	case *FilePool:
		v.Policy = "round-robin"
		v.WhenOwnerDown = "group"
		v.UnknownIDs = "balance"
		v.RandomIDs = "auto"
		v.EarlyData = "owner_only"
		v.SessionLifetime = Duration(24 * time.Hour)
		v.ProxyProtocol = "none"
		Defaults(&v.Health)
		Defaults(&v.Upstream)
	case *FileHealth:
		v.Type = "tcp"
		v.Interval = Duration(5 * time.Second)
		v.Rise = 2
		v.Fall = 3
		v.Path = "/"
	case *FileDiscover:
		v.Interval = Duration(30 * time.Second)
	case *FileLearn:
		v.MaxEntries = 100_000
		v.Lifetime = Duration(time.Hour)
	case *FileServer:
		v.Weight = 1
		v.Share = 1
	}
}

// How long connections and flows may be idle when nothing is written.
const (
	defaultIdle     = 10 * time.Minute
	defaultFlowIdle = 2 * time.Minute
)

// defaultHealthTimeout is how long a check may take when neither the timeout
// nor a shorter interval is written.
const defaultHealthTimeout = 3 * time.Second
