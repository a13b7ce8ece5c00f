//go:build !linux

package lab

import "syscall"

// endWithParent does nothing: only Linux ends children with their parent.
func endWithParent(*syscall.SysProcAttr) {}
