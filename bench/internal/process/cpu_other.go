//go:build !linux

package process

import (
	"errors"
	"syscall"
	"time"
)

func processTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// Descriptors is for Linux alone.
func Descriptors() (uint64, error) { return 0, errors.ErrUnsupported }

func ownGroup() *syscall.SysProcAttr { return nil }

func killGroup(int) {}
