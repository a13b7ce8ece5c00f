package tlshello

// Alert descriptions (RFC 8446, 6, and RFC 6066, 9), for AppendAlert.
const (
	AlertUnexpectedMessage byte = 10  // a record or message that may not stand here
	AlertRecordOverflow    byte = 22  // a record longer than allowed
	AlertHandshakeFailure  byte = 40  // no acceptable set of parameters
	AlertIllegalParameter  byte = 47  // well-formed, but not allowed
	AlertAccessDenied      byte = 49  // the sender decided not to go on
	AlertDecodeError       byte = 50  // a length is out of its range
	AlertProtocolVersion   byte = 70  // the version is recognised, but not supported
	AlertInternalError     byte = 80  // nothing the client did: no server to be had
	AlertUserCanceled      byte = 90  // the handshake is given up for another reason than a fault
	AlertUnrecognizedName  byte = 112 // nobody here has the name of server_name
)

// AppendAlert appends a fatal TLS alert record with the description given
// (RFC 8446, 6) to b. Its record version is 3.3, which clients of every
// version accept before a version has been agreed on.
func AppendAlert(b []byte, description byte) []byte {
	const fatal = 2
	return append(b, recordAlert, 0x03, 0x03, 0x00, 0x02, fatal, description)
}
