package control

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// Import implements ControlService.
func (a *adminAPI) Import(context.Context, *connect.Request[mintmarkv1.ImportRequest]) (*connect.Response[mintmarkv1.ImportResponse], error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("todo"))
}

// Export implements ControlService.
func (a *adminAPI) Export(context.Context, *connect.Request[mintmarkv1.ExportRequest]) (*connect.Response[mintmarkv1.ExportResponse], error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("todo"))
}
