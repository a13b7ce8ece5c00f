package dtlsrec

// What only tests want to know.

// IsClientHello reports whether r carries a ClientHello, or a fragment of one, in
// the clear.
func (r *Record) IsClientHello() bool {
	kind, _, ok := r.handshake()
	return ok && kind == clientHello
}

// String returns the name of a.
func (a Answer) String() string {
	switch a {
	case AnswerVerify:
		return "hello_verify_request"
	case AnswerHello:
		return "server_hello"
	case AnswerAlert:
		return "alert"
	default:
		return "none"
	}
}
