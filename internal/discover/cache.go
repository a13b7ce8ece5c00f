package discover

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

// maxCacheBytes bounds the file that is read, against a wrong path.
const maxCacheBytes = 16 << 20

// cacheVersion is written into the file; another one is not read.
const cacheVersion = 1

type cacheFile struct {
	Version int         `json:"version"`
	Names   []cacheName `json:"names"`
}

type cacheName struct {
	Server route.ServerName `json:"server"`
	Prefix string           `json:"prefix"` // hex
	Source Source           `json:"source"`
	First  time.Time        `json:"first"`
	Last   time.Time        `json:"last"`
}

// load reads the names of an earlier run. A file that cannot be read costs
// one round of probes, so it is logged and passed over.
func (n *Names) load(path string, logger *slog.Logger) {
	if path == "" {
		return
	}
	err := n.read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Warn("reading the names that were discovered before", "file", path, "error", err)
	}
}

func (n *Names) read(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxCacheBytes {
		return fmt.Errorf("the file is longer than %d bytes", maxCacheBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var f cacheFile
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.Version != cacheVersion {
		return fmt.Errorf("it has version %d; want %d", f.Version, cacheVersion)
	}
	for _, c := range f.Names {
		prefix, err := hex.DecodeString(c.Prefix)
		if err != nil || len(prefix) < probe.MinName || len(prefix) > probe.MaxName {
			return fmt.Errorf("the name %q of server %s is not %d to %d bytes of hex", c.Prefix, c.Server, probe.MinName, probe.MaxName)
		}
		if n.Saw(c.Server, prefix, c.Source, c.Last) {
			names := n.servers[c.Server]
			names[len(names)-1].First = c.First
		}
	}
	return nil
}

// save writes the names, all or nothing. Names stand in the clear in every
// resuming hello, so the file is no secret.
func (n *Names) save(path string, logger *slog.Logger) {
	if path == "" {
		return
	}
	f := cacheFile{Version: cacheVersion, Names: []cacheName{}}
	for server := range n.servers {
		for _, x := range n.Of(server) {
			f.Names = append(f.Names, cacheName{server, hex.EncodeToString(x.Prefix), x.Source, x.First, x.Last})
		}
	}
	if err := writeFile(path, f); err != nil {
		logger.Warn("keeping the discovered names for a restart", "file", path, "error", err)
	}
}

func writeFile(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(data, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
