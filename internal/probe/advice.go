package probe

import "crypto/tls"

// Advice says in plain words what the result means for routing, and what to
// change where it cannot be done: one line each.
func (r *Result) Advice() []string {
	var out []string
	switch r.Layout {
	case LayoutKeyName, LayoutPrefix:
		out = append(out, "Sessions of this server can be routed: its tickets begin with a name of their own.")
		if r.Stable > MaxName {
			out = append(out, "More bytes than the name are alike; only the first 16 are used.")
		}
		out = append(out, "The name changes when the server makes a new ticket key, at a restart or reload unless a key file is configured.")
		out = append(out, r.silent()...)
	case LayoutStateful:
		out = append(out,
			"This server keeps sessions in its own memory and hands out random session IDs: tickets are turned off, and there is nothing to route by.",
			"HAProxy: remove `no-tls-tickets` from `ssl-default-bind-options` and from `bind` (Debian's haproxy.cfg has it).",
			"Apache: set `SSLSessionTickets on` (Debian's mods-enabled/ssl.conf turns them off).",
			"nginx: set `ssl_session_tickets on`, the default.",
			"OpenSSL programs: do not set SSL_OP_NO_TICKET, or give session IDs a prefix (`openssl s_server -id_prefix`).",
			"Java: remove -Djdk.tls.server.enableSessionTicketExtension=false.",
			"Or let Mintmark remember which server assigned which ID: `learn:` in its pool. That is for TLS 1.2 and before; with TLS 1.3 it cannot see them.")
	case LayoutOpaque:
		out = append(out,
			"The tickets of this server have no stable byte: nothing in them names it.",
			"Go's crypto/tls mints such tickets: give its tls.Config a WrapSession that puts a mark in front (docs/guides/go.md has the lines).")
	case LayoutNone:
		out = append(out,
			"This server sent no ticket: there is nothing to route by.",
			"A server that demands a client certificate sends none to strangers: give the probe a certificate.",
			"GnuTLS: remove --noticket. OpenSSL: set -num_tickets (SSL_CTX_set_num_tickets) above 0. nginx: `ssl_session_tickets on`.")
	}
	if err := r.Samples[0].Err; err != nil {
		out = append(out, "TLS 1.3 was not spoken ("+err.Error()+"). nginx before 1.23.4 needs `ssl_protocols TLSv1.2 TLSv1.3`.")
	}
	return out
}

// silent names the version of TLS with which a server sends no tickets,
// although it does with the other one.
func (r *Result) silent() (out []string) {
	for _, s := range r.Samples {
		switch {
		case s.Err != nil || len(s.Tickets) > 0:
		case s.Version == tls.VersionTLS13:
			out = append(out, "With TLS 1.3 it sent no ticket: those sessions cannot be resumed, wherever they go. "+
				"OpenSSL: set -num_tickets (SSL_CTX_set_num_tickets) above 0.")
		default:
			out = append(out, "With TLS 1.2 it sent no ticket. A session ID that it may have assigned instead was not looked at.")
		}
	}
	return out
}
