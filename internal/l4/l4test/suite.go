// Package l4test holds the behaviour that every engine of package l4 must
// show: Suite runs it against one, over real sockets on the loopback
// interface.
//
// What is tested here can be seen from outside: bytes, resets, alerts,
// metrics, log lines, connection slots. What is particular to an engine, such
// as how it survives a lack of descriptors, is tested beside it.
package l4test

import (
	"context"
	"net"
	"testing"

	"github.com/mintmark/mintmark/internal/l4"
)

// An Engine forwards the connections of one listener. *l4.Proxy is one; the
// methods mean what its methods mean.
type Engine interface {
	Serve(ctx context.Context, ln net.Listener) error
	Update(s *l4.Settings)
	Drain(ctx context.Context) (cut int)
}

// A Factory makes the engine to be tested.
type Factory func(cfg l4.Config, s *l4.Settings) Engine

// Suite tests the engine that f makes.
func Suite(t *testing.T, f Factory) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, f Factory)
	}{
		{"Forward", testForward},
		{"ServerFirst", testServerFirst},
		{"UnixSockets", testUnixSockets},
		{"HalfClose", testHalfClose},
		{"UrgentData", testUrgentData},
		{"Reset", testReset},
		{"ResetAfterHalfClose", testResetAfterHalfClose},
		{"BytesBeforeReset", testBytesBeforeReset},
		{"SlowReader", testSlowReader},
		{"IdleTimeout", testIdleTimeout},
		{"Bulk", testBulk},
		{"Gibibyte", testGibibyte},

		{"Candidates", testCandidates},
		{"SegmentedHello", testSegmentedHello},
		{"RecordsOfOneByte", testRecordsOfOneByte},
		{"Junk", testJunk},
		{"HelloRetryRequest", testHelloRetryRequest},
		{"Resumptions", testResumptions},
		{"PoolBySNI", testPoolBySNI},
		{"SkippedIDs", testSkippedIDs},
		{"RandomIDs", testRandomIDs},
		{"Hash", testHash},
		{"Witness", testWitness},

		{"Refusals", testRefusals},
		{"HelloTimeout", testHelloTimeout},
		{"HelloTimeoutEnds", testHelloTimeoutEnds},
		{"TrickledHello", testTrickledHello},
		{"HelloBudget", testHelloBudget},
		{"HelloBudgetOfRecords", testHelloBudgetOfRecords},
		{"SlowHellos", testSlowHellos},
		{"MaxConnections", testMaxConnections},
		{"ServerLimit", testServerLimit},

		{"Retry", testRetry},
		{"RetryEarlyData", testRetryEarlyData},
		{"ConnectFails", testConnectFails},

		{"ProxyHeaderIn", testProxyHeaderIn},
		{"ProxyHeaderRefused", testProxyHeaderRefused},
		{"ProxyHeaderUntrusted", testProxyHeaderUntrusted},
		{"ProxyHeaderOut", testProxyHeaderOut},

		{"AccessLog", testAccessLog},
		{"HostileName", testHostileName},

		{"Update", testUpdate},
		{"Drain", testDrain},
		{"DrainCuts", testDrainCuts},
		{"Panic", testPanic},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, f)
		})
	}
}
