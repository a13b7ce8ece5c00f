package l7

import (
	"net/http"
	"net/netip"
	"strings"
)

// setForwarded writes the forwarding headers of a request. All that the client
// sent, and those that ReverseProxy knows, are treated by one policy.
func (x *exchange) setForwarded(out http.Header) {
	in := x.request.Header
	f := &x.settings.Forwarded
	names := [...]string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
	}
	for _, name := range names {
		delete(out, name)
	}
	if f.Policy == ForwardedKeep || f.Policy == ForwardedAppend {
		for _, name := range names {
			if v := in[name]; v != nil && !hopByHop(in, name) {
				out[name] = v
			}
		}
	}
	if f.Policy == ForwardedKeep || f.Policy == ForwardedRemove {
		return
	}
	client, proto := "unknown", "http"
	if x.facts.Client.IsValid() {
		client = x.facts.Client.Addr().Unmap().WithZone("").String()
	}
	if x.request.TLS != nil {
		proto = "https"
	}
	if f.XForwarded {
		out.Set("X-Forwarded-For", join(out["X-Forwarded-For"], client))
		if f.Policy == ForwardedReplace || out["X-Forwarded-Host"] == nil {
			out.Set("X-Forwarded-Host", x.request.Host)
		}
		if f.Policy == ForwardedReplace || out["X-Forwarded-Proto"] == nil {
			out.Set("X-Forwarded-Proto", proto)
		}
	}
	if f.Standard {
		out.Set("Forwarded", join(out["Forwarded"], "for="+node(client)+";host="+quoted(x.request.Host)+";proto="+proto))
	}
}

// hopByHop reports whether the client named a header in Connection.
func hopByHop(h http.Header, name string) bool {
	for _, line := range h["Connection"] {
		for named := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(named), name) {
				return true
			}
		}
	}
	return false
}

func join(before []string, last string) string {
	if len(before) == 0 {
		return last
	}
	return strings.Join(before, ", ") + ", " + last
}

// node writes a client for Forwarded: IPv6 addresses have brackets and quotes
// (RFC 7239, 6).
func node(client string) string {
	if a, err := netip.ParseAddr(client); err == nil && a.Is6() {
		return `"[` + client + `]"`
	}
	return client
}

// quoted writes a value as a quoted string (RFC 9110, 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
