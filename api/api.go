// Package api is the schema of the control plane: mintmark/v1 has it with the
// code that is generated from it, for gRPC, gRPC-Web and Connect, and here is
// the same as an OpenAPI document, for everybody else. A control plane serves
// it at /openapi.json.
//
// baseline.binpb is the schema of the last release. A field or call of it is
// never removed or given another meaning within v1: `make check` compares.
package api

import _ "embed" // for the document

// OpenAPI is the OpenAPI 3.1 document of all calls but those that stream, as
// JSON.
//
//go:embed openapi.json
var OpenAPI []byte
