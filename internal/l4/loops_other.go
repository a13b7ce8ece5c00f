//go:build !linux

package l4

import (
	"context"
	"net"

	"github.com/mintmark/mintmark/internal/reactor"
)

// loops is the Linux engine, which does not exist here.
type loops struct{}

func newLoops(*Proxy, *reactor.Group) *loops { return nil }

func (*loops) serve(context.Context, net.Listener) (bool, error) { return false, nil }
func (*loops) updated()                                          {}
func (*loops) adopt(net.Conn) bool                               { return false }
func (*loops) drain(context.Context) int                         { return 0 }
