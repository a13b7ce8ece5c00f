package control

import (
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access"
)

// maxRequestBytes bounds a request, against clients that send without end. The
// largest that is meant is the import of a file with its plans.
const maxRequestBytes = 96 << 20

// maxMemberRequestBytes bounds what a balancer, an agent or somebody who wants
// to join sends: a list of spaces at most.
const maxMemberRequestBytes = 4 << 20

// rules say which roles may call what.
func rules() access.Rules {
	read := []access.Role{access.RoleAdmin, access.RoleViewer}
	write := []access.Role{access.RoleAdmin}
	balancer := []access.Role{access.RoleBalancer}
	agent := []access.Role{access.RoleAgent}
	return access.Rules{
		Open: []string{mintmarkv1connect.EnrollServiceJoinProcedure},
		Roles: map[string][]access.Role{
			mintmarkv1connect.ControlServiceGetStatusProcedure:      read,
			mintmarkv1connect.ControlServiceListPoolsProcedure:      read,
			mintmarkv1connect.ControlServiceGetRolloutProcedure:     read,
			mintmarkv1connect.ControlServiceListMembersProcedure:    read,
			mintmarkv1connect.ControlServiceExplainProcedure:        read,
			mintmarkv1connect.ControlServiceListAuditProcedure:      read,
			mintmarkv1connect.ControlServiceExportProcedure:         read,
			mintmarkv1connect.ControlServicePutPoolProcedure:        write,
			mintmarkv1connect.ControlServiceDeletePoolProcedure:     write,
			mintmarkv1connect.ControlServiceAddServerProcedure:      write,
			mintmarkv1connect.ControlServiceUpdateServerProcedure:   write,
			mintmarkv1connect.ControlServiceRemoveServerProcedure:   write,
			mintmarkv1connect.ControlServiceAdvanceRolloutProcedure: write,
			mintmarkv1connect.ControlServiceRotateProcedure:         write,
			mintmarkv1connect.ControlServiceCreateTokenProcedure:    write,
			mintmarkv1connect.ControlServiceRemoveMemberProcedure:   write,
			mintmarkv1connect.ControlServiceImportProcedure:         write,
			mintmarkv1connect.ControlServiceRestorePoolProcedure:    write,
			mintmarkv1connect.EnrollServiceRenewProcedure: {
				access.RoleAdmin, access.RoleViewer, access.RoleBalancer, access.RoleAgent,
			},
			mintmarkv1connect.BalancerServiceWatchSnapshotsProcedure: balancer,
			mintmarkv1connect.BalancerServiceAcknowledgeProcedure:    balancer,
			mintmarkv1connect.BalancerServiceReportSeenProcedure:     balancer,
			mintmarkv1connect.AgentServiceWatchAssignmentsProcedure:  agent,
			mintmarkv1connect.AgentServiceReportProcedure:            agent,
		},
	}
}

// Handler serves the API: gRPC, gRPC-Web and Connect, by one path for each
// call.
func (s *Server) Handler() http.Handler {
	mux := s.calls()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(api.OpenAPI)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return s.access.Middleware(noBrowsers(mux))
}

// calls serves the API to whoever the context of a request says it is.
func (s *Server) calls() *http.ServeMux {
	mux := http.NewServeMux()
	guard := connect.WithInterceptors(access.Interceptor(rules()))
	members := connect.WithReadMaxBytes(maxMemberRequestBytes)
	mux.Handle(mintmarkv1connect.NewControlServiceHandler(&adminAPI{s: s}, guard, connect.WithReadMaxBytes(maxRequestBytes)))
	mux.Handle(mintmarkv1connect.NewEnrollServiceHandler(&enrollAPI{s}, guard, members))
	mux.Handle(mintmarkv1connect.NewBalancerServiceHandler(&balancerAPI{s}, guard, members))
	mux.Handle(mintmarkv1connect.NewAgentServiceHandler(&agentAPI{s}, guard, members))
	return mux
}

// services are the names of the API's services.
func services() []string {
	return []string{
		mintmarkv1connect.ControlServiceName, mintmarkv1connect.EnrollServiceName,
		mintmarkv1connect.BalancerServiceName, mintmarkv1connect.AgentServiceName,
	}
}

// noBrowsers refuses requests that a page of another site makes a browser
// send: nobody of ours calls the API like that.
func noBrowsers(next http.Handler) http.Handler {
	var guard http.CrossOriginProtection
	return guard.Handler(next)
}

// Bounds of the API's connections, against clients that open them and say
// nothing.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// HTTPServer returns a server of the API for a listener, and of ui, if it is
// not nil, on the paths that the API does not have. With plain set it speaks
// HTTP without TLS, which is for loopback addresses only: Serve refuses others.
func (s *Server) HTTPServer(names []string, plain bool, ui http.Handler) *http.Server {
	handler := s.Handler()
	if ui != nil {
		mux := http.NewServeMux()
		mux.Handle("/healthz", handler)
		mux.Handle("/openapi.json", handler)
		for _, service := range services() {
			mux.Handle("/"+service+"/", handler)
		}
		mux.Handle("/", ui)
		handler = mux
	}
	h := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
	if plain {
		p := new(http.Protocols)
		p.SetHTTP1(true)
		p.SetUnencryptedHTTP2(true)
		h.Protocols = p
		return h
	}
	h.TLSConfig = s.access.TLSConfig(names)
	return h
}

// trimmed is the name in a key of the store.
func trimmed(key, prefix string) string { return strings.TrimPrefix(key, prefix) }
