//go:build !linux

package reactor

import (
	"context"
	"errors"
	"net"
)

// A Group is a set of event loops. There are none on this system.
type Group struct{}

// New returns errors.ErrUnsupported.
func New(int) (*Group, error) { return nil, errors.ErrUnsupported }

// Run is never called.
func (*Group) Run(context.Context) error { return errors.ErrUnsupported }

// Close does nothing.
func (*Group) Close() {}

// Detach returns errors.ErrUnsupported.
func Detach(net.Listener) (net.Listener, error) { return nil, errors.ErrUnsupported }
