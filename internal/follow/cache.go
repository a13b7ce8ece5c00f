package follow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"
)

// maxCacheBytes bounds the file of a snapshot that is read, so that a wrong
// path does not fill the memory.
const maxCacheBytes = 1 << 30

// ErrNoCache is the error of a cache that holds no snapshot.
var ErrNoCache = errors.New("there is no snapshot in the cache")

// cacheMagic begins the file of a snapshot.
const cacheMagic = "mintmark snapshot 1\n"

// readCache reads the snapshot at path.
func readCache(path string) (*Snapshot, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCache
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cached snapshot: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCacheBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the cached snapshot: %w", err)
	}
	s := new(Snapshot)
	if len(b) < len(cacheMagic) || string(b[:len(cacheMagic)]) != cacheMagic {
		return nil, fmt.Errorf("%s holds no snapshot", path)
	}
	if err := proto.Unmarshal(b[len(cacheMagic):], s); err != nil {
		return nil, fmt.Errorf("%s holds no snapshot: %w", path, err)
	}
	return s, nil
}

// writeCache replaces the snapshot at path, with mode 0600 because it holds
// mark keys. It is on disk when it returns: that is half of what an
// acknowledgement says.
func writeCache(path string, s *Snapshot) error {
	b, err := proto.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte(cacheMagic), b...))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
