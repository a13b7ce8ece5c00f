package agent

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/mintmark/mintmark/internal/agent/adapter"
)

// maxFileBytes bounds the file that is read, so that a wrong path does not
// fill the memory.
const maxFileBytes = 1 << 20

// A File is the configuration of an agent, agent.yaml. Paths in it are
// relative to its directory.
type File struct {
	// Control is the control plane.
	Control FileControl `yaml:"control"`
	// State is the directory of the agent's keys and certificate. Default:
	// state.
	State string `yaml:"state"`
	// Server is the server beside the agent.
	Server FileServer `yaml:"server"`
	// Capacity is how much new traffic the server can take beside others: its
	// weight, unless an operator set another. Absent: not said.
	Capacity *uint32 `yaml:"capacity"`
	// Adapter is how the server is configured.
	Adapter FileAdapter `yaml:"adapter"`
}

// FileControl is where the control plane is.
type FileControl struct {
	// Connect is its URL, or several that share a store. Required.
	Connect []string `yaml:"connect"`
	// TokenFile holds the join token, which is read once. Required.
	TokenFile string `yaml:"token_file"`
	// CA is the certificate of its authority, a PEM file. The token pins it
	// anyway.
	CA string `yaml:"ca"`
}

// FileServer is the server.
type FileServer struct {
	// Address is where it listens, HOST:PORT, for the agent to see what it
	// mints. Without it the agent believes the adapter.
	Address string `yaml:"address"`
	// SNI is the name that clients ask for.
	SNI string `yaml:"sni"`
}

// FileAdapter is how the server is configured; see adapter.Config.
type FileAdapter struct {
	Kind     string   `yaml:"kind"`
	Dir      string   `yaml:"dir"`
	File     string   `yaml:"file"`
	PIDFile  string   `yaml:"pid_file"`
	Test     []string `yaml:"test"`
	Reload   []string `yaml:"reload"`
	Socket   string   `yaml:"socket"`
	Keys     string   `yaml:"keys"`
	Lifetime string   `yaml:"lifetime"`
}

// Load reads and checks the configuration at path. The error joins all that is
// wrong with it.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("reading the configuration: %s is larger than %d bytes", path, maxFileBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	f := &File{State: "state"}
	if err := yaml.UnmarshalWithOptions(text, f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, false))
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&f.State, &f.Control.TokenFile, &f.Control.CA, &f.Adapter.Dir, &f.Adapter.File, &f.Adapter.PIDFile, &f.Adapter.Socket} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return f, nil
}

func (f *File) check() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(f.Control.Connect) == 0 {
		problem(`control.connect is missing; write the URL of the control plane, as in ["https://10.0.0.1:7070"]`)
	}
	for i, text := range f.Control.Connect {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			problem("control.connect[%d]: %q is not the URL of a control plane; write one such as https://10.0.0.1:7070", i, text)
		}
	}
	if f.Control.TokenFile == "" {
		problem("control.token_file is missing; write the path of a file with the token that `mintmark token create agent POOL/SERVER` prints")
	}
	if f.Server.Address != "" {
		if _, _, err := net.SplitHostPort(f.Server.Address); err != nil {
			problem("server.address: %q is not HOST:PORT", f.Server.Address)
		}
	}
	if f.Adapter.Kind == "" {
		problem("adapter.kind is missing; write one of %s", strings.Join(adapter.Kinds(), ", "))
	} else if _, err := f.NewAdapter(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// NewAdapter returns the adapter of the file.
func (f *File) NewAdapter() (adapter.Adapter, error) {
	c := adapter.Config{
		Kind: f.Adapter.Kind, Dir: f.Adapter.Dir, File: f.Adapter.File, PIDFile: f.Adapter.PIDFile,
		Test: f.Adapter.Test, Reload: f.Adapter.Reload, Socket: f.Adapter.Socket, Keys: f.Adapter.Keys,
	}
	if f.Adapter.Lifetime != "" {
		d, err := time.ParseDuration(f.Adapter.Lifetime)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("adapter.lifetime: %q is no duration; write one such as 720h", f.Adapter.Lifetime)
		}
		c.Lifetime = d
	}
	return adapter.New(c)
}
