package tlshello

import "errors"

// ErrNeedMore says that the bytes so far are a proper beginning of a hello.
var ErrNeedMore = errors.New("tlshello: need more bytes")

// A Cause says why bytes are not an acceptable hello. Its names label
// mintmark_refused_total.
type Cause string

// The causes. The label is what metrics and logs print.
const (
	CauseNotTLS   Cause = "not_tls"   // the first bytes are not a TLS handshake record
	CauseTooLarge Cause = "too_large" // longer than MaxHello
	CauseBadHello Cause = "bad_hello" // malformed
)

// An Error is a refusal of a hello. The errors that this package returns are
// shared: do not change them.
type Error struct {
	Cause  Cause
	Detail string

	// Alert is the description to answer with (see AppendAlert). 0 means that
	// the client did not speak TLS, would not understand an alert, and is best
	// answered by closing the connection.
	Alert byte
}

func (e *Error) Error() string { return "tlshello: " + string(e.Cause) + ": " + e.Detail }

// The refusals. They are made once, so that a flood of bad hellos costs no
// allocation. Where RFC 8446 names the alert for a fault, that is the one.
var (
	// Known from the first bytes.
	errNotTLS  = &Error{Cause: CauseNotTLS, Detail: "the first bytes are not a TLS handshake record"}
	errText    = &Error{Cause: CauseNotTLS, Detail: "the first byte is a capital letter, as of a plain HTTP request"}
	errTooLong = &Error{CauseTooLarge, "the hello would take more than 65536 bytes", AlertIllegalParameter}
	errType    = &Error{CauseBadHello, "the first handshake message is not a ClientHello", AlertUnexpectedMessage}

	// Records (RFC 8446, 5.1).
	errRecordType     = &Error{CauseBadHello, "another record stands between those of the hello", AlertUnexpectedMessage}
	errRecordVersion  = &Error{CauseBadHello, "a record of the hello is not of version 3", AlertProtocolVersion}
	errRecordOverflow = &Error{CauseBadHello, "a record is longer than 16384 bytes", AlertRecordOverflow}
	errRecordEmpty    = &Error{CauseBadHello, "a handshake record is empty", AlertUnexpectedMessage}
	errTrailing       = &Error{CauseBadHello, "the last record goes on after the hello", AlertUnexpectedMessage}

	// The message (RFC 8446, 4.1.2).
	errTruncated    = &Error{CauseBadHello, "the message ends in the middle of a field", AlertDecodeError}
	errSessionID    = &Error{CauseBadHello, "session_id is longer than 32 bytes", AlertDecodeError}
	errCipherSuites = &Error{CauseBadHello, "cipher_suites is empty or of odd length", AlertDecodeError}
	errCompression  = &Error{CauseBadHello, "compression_methods is empty", AlertDecodeError}
	errExtensions   = &Error{CauseBadHello, "the extensions do not fill the message exactly", AlertDecodeError}
	errDuplicate    = &Error{CauseBadHello, "an extension stands there twice", AlertIllegalParameter}

	// The extensions that are read.
	errServerName   = &Error{CauseBadHello, "server_name is malformed", AlertDecodeError}
	errTwoNames     = &Error{CauseBadHello, "server_name holds two host names", AlertIllegalParameter}
	errHostName     = &Error{CauseBadHello, "the host name is longer than 255 bytes or holds a zero byte", AlertUnrecognizedName}
	errALPN         = &Error{CauseBadHello, "application_layer_protocol_negotiation is malformed", AlertDecodeError}
	errVersions     = &Error{CauseBadHello, "supported_versions is malformed", AlertDecodeError}
	errEarlyData    = &Error{CauseBadHello, "early_data is not empty", AlertDecodeError}
	errPreSharedKey = &Error{CauseBadHello, "pre_shared_key is malformed", AlertDecodeError}
	errPSKNotLast   = &Error{CauseBadHello, "pre_shared_key is not the last extension", AlertIllegalParameter}
)
