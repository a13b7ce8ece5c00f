package control

import (
	"errors"

	"connectrpc.com/connect"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// An invalidError says that a request cannot be done as it is.
type invalidError struct{ err error }

func (e *invalidError) Error() string { return e.err.Error() }
func (e *invalidError) Unwrap() error { return e.err }

// rpcError gives an error the code by which programs tell what to do: read
// again (aborted), accept the costs (failed_precondition), write something
// else (invalid_argument), or try later (unavailable).
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return err
	}
	code := connect.CodeUnavailable // the store, most likely
	switch {
	case is[*store.ConflictError](err):
		code = connect.CodeAborted
	case is[*rollout.CostError](err):
		code = connect.CodeFailedPrecondition
	case is[*invalidError](err):
		code = connect.CodeInvalidArgument
	case errors.Is(err, errNoPool), errors.Is(err, store.ErrNotFound):
		code = connect.CodeNotFound
	case errors.Is(err, access.ErrToken), errors.Is(err, access.ErrRevoked), errors.Is(err, access.ErrNoCredentials):
		code = connect.CodeUnauthenticated
	}
	return connect.NewError(code, err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
