//go:build !linux

package l4

import "errors"

// Elsewhere than on Linux there is no splice, and no pipe is ever made.
type (
	pipe     struct{}
	pipePool struct{}
)

func (*pipe) fill(uintptr) (int, bool, error)       { return 0, false, errors.ErrUnsupported }
func (*pipe) drain(uintptr, int) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func (*pipePool) get() *pipe                        { return nil }
func (*pipePool) put(*pipe, int)                    {}
func (*pipePool) close()                            {}
