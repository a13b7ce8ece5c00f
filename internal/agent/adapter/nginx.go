package adapter

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
)

// nginx writes one file for each key and one of directives, to be included in
// the default server of the listening socket, or in http:
//
//	include /etc/nginx/mintmark/*.conf;
//
// A pattern, because a file that is not there yet would keep nginx from
// starting. The first key encrypts, all of them decrypt. A key for the server
// of another name on the same socket has no effect (measured, 1.22).
type nginx struct {
	Config
	workers workers
}

func (a *nginx) Name() string             { return "nginx" }
func (a *nginx) Constraints() Constraints { return Constraints{} }
func (a *nginx) Wire() Wire               { return WireName }

// nginxConf is the file of directives.
const nginxConf = "ticket-keys.conf"

func (a *nginx) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	all := append([]Key{keys.Encrypt}, keys.Decrypt...)
	var conf bytes.Buffer
	conf.WriteString("# Written by mintmark agent. The first key encrypts.\n")
	var files []file
	kept := make(map[string]bool)
	for _, k := range all {
		name := filepath.Join(a.Dir, fmt.Sprintf("%s-%d.key", k.Owner, k.Generation))
		kept[name] = true
		// 80 bytes: name, HMAC, AES-256.
		files = append(files, file{path: name, content: slices.Concat(k.Name, k.Secret)})
		fmt.Fprintf(&conf, "ssl_session_ticket_key %s;\n", name)
	}
	files = append(files, file{path: filepath.Join(a.Dir, nginxConf), content: conf.Bytes(), public: true})
	if err := a.workers.remember(); err != nil {
		return nil, err
	}
	changed, err := a.install(ctx, files, keys.Again)
	if err != nil || !changed {
		a.workers.before = nil // they are the ones that stay
		if err != nil {
			return nil, err
		}
		return all, nil
	}
	return all, sweep(a.Dir, "*.key", kept)
}

func (a *nginx) OldGone(context.Context) (bool, error) { return a.workers.gone() }
