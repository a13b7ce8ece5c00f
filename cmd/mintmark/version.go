package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

func versionCommand() *command {
	return &command{
		name:     "version",
		synopsis: "[--json]",
		short:    "print the version of this program",
		long: `
Print the version of this program, the revision it was built from, and the Go
version and platform it was built for.`,
		examples: []example{{"the version as one line", "mintmark version"}},
		setup: func(fs *flag.FlagSet) runFunc {
			asJSON := fs.Bool("json", false, "print one JSON object")
			return func(_ context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("version takes no operands, got %s", quote(operands[0]))
				}
				return printVersion(e.stdout, readVersion(), *asJSON)
			}
		},
	}
}

// versionInfo is the JSON contract of `mintmark version --json`.
type versionInfo struct {
	Version  string `json:"version"`            // of the module; "(devel)" when built outside a tagged tree
	Revision string `json:"revision,omitempty"` // commit; absent when built without version control
	Modified bool   `json:"modified"`           // the tree had changes that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"` // operating system and architecture
}

func readVersion() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func printVersion(w io.Writer, v versionInfo, asJSON bool) error {
	if asJSON {
		return writeJSON(w, v)
	}
	revision := ""
	if v.Revision != "" {
		revision = " " + v.Revision
		if v.Modified {
			revision += " (modified)"
		}
	}
	_, err := fmt.Fprintf(w, "mintmark %s%s %s %s\n", v.Version, revision, v.Go, v.Platform)
	return err
}

// writeJSON writes v as the result of a command: one indented document.
// unmarshalNumbers is json.Unmarshal that leaves numbers as they are.
func unmarshalNumbers(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
