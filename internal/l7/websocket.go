package l7

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it; it protects nothing
	"encoding/base64"
	"time"
)

// acceptKey answers the key of a WebSocket handshake (RFC 6455, 4.2.2). A
// server that is asked with extended CONNECT does not do it.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// past is a deadline that is over, zeroTime that there is none.
func past() time.Time     { return time.Unix(1, 0) }
func zeroTime() time.Time { return time.Time{} }
