//go:build !linux

package proxy

import (
	"errors"
	"syscall"
	"time"
)

func processTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func descriptors() (uint64, error) { return 0, errors.ErrUnsupported }

func ownGroup() *syscall.SysProcAttr { return nil }

func killGroup(int) {}
