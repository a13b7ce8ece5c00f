package l4

import "unsafe"

// LoopConnSize is the memory of a connection of the Linux engine.
const LoopConnSize = unsafe.Sizeof(loopConn{})
