//go:build !linux

package l4

import "net"

// ListenConfig returns how to open the sockets that Serve accepts from.
func ListenConfig() net.ListenConfig { return net.ListenConfig{} }
