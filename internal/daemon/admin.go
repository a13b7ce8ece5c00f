package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of the admin address, against clients that open a connection and
// say nothing, or never stop.
const (
	adminHeaderTimeout = 5 * time.Second
	adminIdleTimeout   = time.Minute
	adminHeaderBytes   = 16 << 10
	adminCloseTimeout  = time.Second // what a scrape in progress gets at the end
)

// An adminServer answers /metrics, /healthz and /readyz.
type adminServer struct {
	key  socketKey
	ln   net.Listener
	http *http.Server
	done chan struct{}
}

// prepareAdmin opens the admin address of c, or keeps the one that is open.
// It answers at once: a balancer that waits for its servers says "not ready".
func (d *Daemon) prepareAdmin(ctx context.Context, c *change) error {
	if c.cfg.Admin == nil {
		return nil
	}
	k := keyOf(*c.cfg.Admin)
	if d.admin != nil && d.admin.key == k {
		c.admin = d.admin
		return nil
	}
	ln := d.inherited.take(k, "admin")
	if ln == nil {
		var err error
		if ln, err = listen(ctx, k); err != nil {
			return fmt.Errorf("opening the admin address %v: %w", k, err)
		}
	}
	a := &adminServer{
		key:  k,
		ln:   ln,
		done: make(chan struct{}),
		http: &http.Server{
			Handler:           d.adminHandler(),
			ReadHeaderTimeout: adminHeaderTimeout,
			IdleTimeout:       adminIdleTimeout,
			MaxHeaderBytes:    adminHeaderBytes,
		},
	}
	go func() {
		defer close(a.done)
		_ = a.http.Serve(ln) // always http.ErrServerClosed, or the socket's end, which close causes
	}()
	c.admin = a
	return nil
}

func (a *adminServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
	defer cancel()
	if err := a.http.Shutdown(ctx); err != nil {
		_ = a.http.Close()
	}
	<-a.done
}

func (d *Daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.Registry(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", d.serveReady)
	mux.HandleFunc("GET /status", d.serveStatus)
	return mux
}

// serveReady answers 200 when new connections are welcome, and 503 with the
// reason from the first moment of a shutdown and until the servers were asked.
func (d *Daemon) serveReady(w http.ResponseWriter, _ *http.Request) {
	type status struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}
	reason := d.notReady.Load()
	s := status{Ready: reason == nil}
	if reason != nil {
		s.Reason = *reason
	}
	w.Header().Set("Content-Type", "application/json")
	if !s.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(s) // the client may have gone
}
