package engine

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/dgram"
)

// A portableWorker does on the runtime's poller what any system can: one goroutine
// for the listening socket, and one for each flow.
type portableWorker struct {
	conn *net.UDPConn
	addr netip.AddrPort
	done chan struct{} // closed by stop
	once sync.Once
	wg   sync.WaitGroup // one for each flow

	mu   sync.Mutex // guards all below
	core *core
}

// A portableFlow is the socket of a flow.
type portableFlow struct {
	conn   *net.UDPConn
	client netip.AddrPort
}

func (p *Proxy) newPortableWorker(s *Sockets, i int) (worker, error) {
	c, err := newCore(p, s.Len())
	if err != nil {
		return nil, err
	}
	conn, err := s.conn(i)
	if err != nil {
		return nil, err
	}
	return &portableWorker{conn: conn, addr: s.addr, core: c, done: make(chan struct{})}, nil
}

func (w *portableWorker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.adopt()
}

func (w *portableWorker) stop() {
	w.once.Do(func() {
		close(w.done)
		_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // it may be closed already
	})
}

func (w *portableWorker) run() error {
	defer w.wg.Wait()
	defer w.close()
	w.wg.Go(w.expire)
	buffer := make([]byte, maxDatagram)
	for {
		n, client, err := w.conn.ReadFromUDPAddrPort(buffer)
		select {
		case <-w.done:
			return nil
		default:
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			w.stop()
			return err
		case err != nil:
			w.failed(toServer, err)
			continue
		}
		w.request(buffer[:n], client)
	}
}

// request sends one datagram of a client to its server.
func (w *portableWorker) request(data []byte, client netip.AddrPort) {
	now := time.Now()
	tuple := dgram.TupleOf(client, w.addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.core.tally.flush()
	defer w.reap()
	w.core.batch()
	v := w.core.decide(data, &tuple, now)
	if v.Flow == nil {
		return
	}
	if v.Opened && !w.open(v.Flow, client) {
		return
	}
	s := v.Flow.Socket.(*portableFlow) //nolint:forcetypeassert // nobody else sets it
	if _, err := s.conn.Write(data); err != nil {
		w.core.tally.failed(toServer, errorOf(err), 1)
		return
	}
	w.core.tally.sent(toServer, 1, len(data))
	w.core.proxy.heard(now)
}

// open gives a new flow its socket. The caller holds mu.
func (w *portableWorker) open(f *dgram.Flow, client netip.AddrPort) bool {
	server, ok := serverAddr(f.Server)
	if !ok {
		w.core.flows.Close(f)
		w.core.tally.refused(string(causeUnresolved))
		return false
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		w.core.flows.Close(f)
		w.core.tally.refused(string(causeNoSocket))
		w.core.proxy.log.Debug("opening a flow", "server", string(f.Server.Config.Name), "error", err)
		return false
	}
	s := &portableFlow{conn: conn, client: client}
	f.Socket = s
	w.core.proxy.metrics.Accepted.Inc(0)
	w.core.proxy.metrics.Active.Add(0, 1)
	w.wg.Go(func() { w.replies(f, s) })
	return true
}

// replies sends to a client what its server sends, until the flow is closed.
func (w *portableWorker) replies(f *dgram.Flow, s *portableFlow) {
	buffer := make([]byte, maxDatagram)
	for {
		n, err := s.conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			w.failed(toServer, err)
			continue
		}
		_, err = w.conn.WriteToUDPAddrPort(buffer[:n], s.client)
		w.mu.Lock()
		now := time.Now()
		if f.Socket != nil {
			w.core.flows.Seen(f, now)
		}
		if err != nil {
			w.core.tally.failed(toClient, errorOf(err), 1)
		} else {
			w.core.tally.sent(toClient, 1, n)
		}
		w.core.tally.flush()
		w.mu.Unlock()
	}
}

// expire closes flows that are idle.
func (w *portableWorker) expire() {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case now := <-ticker.C:
			w.mu.Lock()
			w.core.flows.Expire(now)
			w.reap()
			w.mu.Unlock()
		}
	}
}

// reap closes the sockets of flows that are gone. The caller holds mu.
func (w *portableWorker) reap() {
	for f := w.core.flows.Reap(); f != nil; f = w.core.flows.Reap() {
		s, ok := f.Socket.(*portableFlow)
		if !ok {
			continue // it never got one
		}
		f.Socket = nil
		_ = s.conn.Close() // which ends its goroutine
		w.core.proxy.metrics.Active.Add(0, -1)
	}
}

func (w *portableWorker) failed(d direction, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.tally.failed(d, errorOf(err), 1)
	w.core.tally.flush()
}

func (w *portableWorker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.flows.CloseAll()
	w.reap()
	w.core.tally.flush()
	_ = w.conn.Close()
}
