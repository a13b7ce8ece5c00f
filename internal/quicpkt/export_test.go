package quicpkt

// IsReservedVersion reports whether v has the form 0x?a?a?a?a.
func IsReservedVersion(v uint32) bool { return v&0x0f0f0f0f == 0x0a0a0a0a }
