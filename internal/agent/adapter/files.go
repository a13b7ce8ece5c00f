package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A file is what a file shall hold.
type file struct {
	path    string
	content []byte
	// public: no secret is in it, so others may read it.
	public bool
}

// files replaces all of them, or none. changed is false when each held what it
// should already. undo puts back what was there.
func replace(files []file) (changed bool, undo func() error, err error) {
	var done []func() error
	undo = func() error {
		var errs []error
		for i := len(done) - 1; i >= 0; i-- {
			errs = append(errs, done[i]())
		}
		return errors.Join(errs...)
	}
	for _, f := range files {
		before, err := os.ReadFile(f.path)
		existed := err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, undo, errors.Join(err, undo())
		}
		if existed && bytes.Equal(before, f.content) {
			continue
		}
		if err := f.write(f.content); err != nil {
			return false, undo, errors.Join(err, undo())
		}
		done = append(done, func() error {
			if !existed {
				return os.Remove(f.path)
			}
			return f.write(before)
		})
	}
	return len(done) > 0, undo, nil
}

// write replaces the file in one step, on disk when it returns. Its owner and,
// for a public file, its mode stay what they are; a file that is new gets the
// owner of its directory, because the server may not run as root.
func (f *file) write(content []byte) (err error) {
	mode := os.FileMode(0o600)
	if f.public {
		mode = 0o644
	}
	owner, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if owner, err = os.Stat(filepath.Dir(f.path)); err != nil {
			return err
		}
	case err != nil:
		return err
	case f.public:
		mode = owner.Mode().Perm()
	}
	t, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(t.Name()))
		}
	}()
	_, err = t.Write(content)
	if err == nil {
		err = chown(t, owner)
	}
	if err == nil {
		err = t.Chmod(mode)
	}
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), f.path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return nil // the file is in place; its directory may not be readable for us
	}
	return errors.Join(d.Sync(), d.Close())
}

// chown gives f the owner of another file, if that is not ours already.
func chown(f *os.File, like os.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("keeping the owner of the file: %w", err)
	}
	return nil
}

// sweep removes files in dir that match pattern and are not kept: keys of
// generations that are gone.
func sweep(dir, pattern string, kept map[string]bool) error {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range found {
		if !kept[name] {
			errs = append(errs, os.Remove(name))
		}
	}
	return errors.Join(errs...)
}
