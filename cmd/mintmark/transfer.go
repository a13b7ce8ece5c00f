package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/config"
)

func importCommand() *command {
	return &command{
		name:     "import",
		synopsis: "FILE [--from-revision REVISION]",
		short:    "take the pools of a configuration file into the control plane",
		long: `
Take the pools of a configuration file, and the plans that they name, into the
store of the control plane: all of them, or none. Pools that are there already
are not touched, and refuse the import. Listeners and the rest stay in the file,
from which "pools:" is then removed and "control:" written.

A plan goes on as it is, so every ID that was minted by it is routed as before.
Its servers go on minting by the keys that they have until their agents join.

With --json, the answer of ControlService.Import is printed: revision, pools.`,
		examples: []example{{"from a file to a control plane", "mintmark import mintmark.yaml"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			from := fs.Uint64("from-revision", 0, "refuse unless the store is at this `REVISION` (0: whatever it is)")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "FILE"); err != nil {
					return err
				}
				m, err := importRequest(e, operands[0])
				if err != nil {
					return err
				}
				m.FromRevision = *from
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.Import(ctx, connect.NewRequest(m))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) {
					fmt.Fprintf(b, "imported: %s\n", strings.Join(r.Msg.GetPools(), ", "))
				})
			}
		},
	}
}

// importRequest reads a file and the plans that it names. What is wrong with
// it is said before anybody is asked.
func importRequest(e *env, file string) (*mintmarkv1.ImportRequest, error) {
	data, err := config.Read(file)
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Parse(file, data, config.Options{})
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return nil, refuse(e, file, problems)
	}
	if err != nil {
		return nil, err
	}
	m := &mintmarkv1.ImportRequest{Config: string(data), Plans: make(map[string][]byte)}
	pools, err := config.PoolSettings(data)
	if err != nil && cfg.Control == nil {
		return nil, err
	}
	for _, p := range pools {
		name, _ := p["plan_file"].(string)
		if name == "" {
			continue
		}
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		if m.Plans[name], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("reading the plan: %w", err)
		}
	}
	return m, nil
}

func exportCommand() *command {
	return &command{
		name:     "export",
		synopsis: "[--output DIR] [--with-secrets]",
		short:    "write the pools of the control plane as a configuration file",
		long: `
Write the pools of the control plane as a configuration file, to standard
output, or with --output into a directory together with their plans: pools.yaml
and POOL.plan. Files that are there are not overwritten.

Mark keys are left out, and with them the plans of sealed pools, unless an admin
asks for them with --with-secrets; such files have mode 0600.

With --json, the answer of ControlService.Export is printed: config, plans
(base64) and revision.`,
		examples: []example{
			{"look at it", "mintmark export"},
			{"a backup, with all that it takes to route", "mintmark export --with-secrets --output ./backup"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			secrets := fs.Bool("with-secrets", false, "also mark keys")
			output := fs.String("output", "", "write into `DIR`")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.Export(ctx, connect.NewRequest(&mintmarkv1.ExportRequest{WithSecrets: *secrets}))
				if err != nil {
					return callError(err)
				}
				if *output != "" {
					return writeExport(e, *output, r.Msg)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { b.WriteString(r.Msg.GetConfig()) })
			}
		},
	}
}

// writeExport writes the files of an export, unless one of them is there.
func writeExport(e *env, dir string, m *mintmarkv1.ExportResponse) error {
	files := map[string][]byte{"pools.yaml": []byte(m.GetConfig())}
	maps.Copy(files, m.GetPlans())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return withHint(fmt.Errorf("%s is there already, and nothing was written", filepath.Join(dir, name)), "give an empty directory")
		}
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
	}
	fmt.Fprintf(e.stderr, "wrote %s to %s\n", strings.Join(names, ", "), dir)
	return nil
}
