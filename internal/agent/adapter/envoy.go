package adapter

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
)

// envoy writes a secret for its file-based discovery (SDS), which Envoy's
// documentation says it takes without a restart when the file is replaced, and
// the key files that it names. The first key encrypts. It was written from the
// documentation and never tried: no Envoy was to be had.
type envoy struct{ Config }

func (a *envoy) Name() string             { return "Envoy (untested)" }
func (a *envoy) Constraints() Constraints { return Constraints{} }
func (a *envoy) Wire() Wire               { return WireName }

func (a *envoy) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	all := append([]Key{keys.Encrypt}, keys.Decrypt...)
	var sds bytes.Buffer
	sds.WriteString(`# Written by mintmark agent. The first key encrypts.
resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: mintmark_ticket_keys
  session_ticket_keys:
    keys:
`)
	var files []file
	kept := make(map[string]bool)
	for _, k := range all {
		name := filepath.Join(a.Dir, fmt.Sprintf("%s-%d.key", k.Owner, k.Generation))
		kept[name] = true
		files = append(files, file{path: name, content: slices.Concat(k.Name, k.Secret)})
		fmt.Fprintf(&sds, "    - filename: %q\n", name)
	}
	files = append(files, file{path: filepath.Join(a.Dir, "ticket-keys.yaml"), content: sds.Bytes(), public: true})
	changed, err := a.install(ctx, files, keys.Again)
	if err != nil || !changed {
		return all, err
	}
	return all, sweep(a.Dir, "*.key", kept)
}

// OldGone: there is one process, and the wire shows which key it has.
func (a *envoy) OldGone(context.Context) (bool, error) { return true, nil }
