package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrReadOnly says that the file's mode forbids edits. The switch may still be
// changed without it.
var ErrReadOnly = errors.New("read-only")

// Load reads the document at path. What is wrong with its content comes as Faults,
// what is wrong with the file as an error that names the remedy.
func Load(path string) (*Document, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read configuration: %w (write one, or name another with --config)", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read configuration: %w (run as root, or let this user read it)", err)
	case err != nil:
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("read configuration: %s is longer than %d bytes (is it the right file?)", path, MaxSize)
	}
	if len(bytes.TrimSpace(data)) == 0 { // half a save, or a full disk: no reason to end every network
		return nil, fmt.Errorf("read configuration: %s is empty (for no networks at all, write networks: [])", path)
	}
	return NewDocument(data)
}

// Save puts data in the place of the file at path: Stage and Commit.
func Save(path string, data []byte) error {
	s, err := Stage(path, data)
	if err != nil {
		return err
	}
	defer s.Discard()
	return s.Commit()
}

// A Staged file is written and waits to take the place of another.
type Staged struct {
	temp, path string // temp is "" once the file has a place or is gone
}

// Stage writes data beside the file at path, so that Commit has little left that
// could fail. Mode and owner are the old file's; a symbolic link stays, and its
// target changes. The old file is there until Commit.
func Stage(path string, data []byte) (*Staged, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = path, nil
	}
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	old, err := os.Stat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return nil, fmt.Errorf("write configuration: %w", err)
	case !old.Mode().IsRegular():
		return nil, fmt.Errorf("write configuration: %s is not a regular file", real)
	case old.Mode()&0o222 == 0:
		// Root could. Who takes the write bits away wants the file left alone.
		return nil, fmt.Errorf("write configuration: %s is %w (chmod u+w %s, or use --runtime to change the running switch only)", real, ErrReadOnly, real)
	}
	temp, err := writeBeside(real, old, data)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w%s", err, remedy(err))
	}
	return &Staged{temp, real}, nil
}

// Commit puts the file in its place in one step: a reader, and a machine that loses
// power, finds the old content or the new. After an error the old file is there.
func (s *Staged) Commit() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		return fmt.Errorf("write configuration: %w%s", err, remedy(err))
	}
	s.temp = ""
	// The new content is there; a directory that cannot be synced (some network
	// filesystems) is no reason to say that it is not.
	if d, err := os.Open(filepath.Dir(s.path)); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

// Discard removes the file if it was not committed.
func (s *Staged) Discard() {
	if s.temp != "" {
		os.Remove(s.temp)
		s.temp = ""
	}
}

// writeBeside writes a new file beside real and returns its name.
func writeBeside(real string, old fs.FileInfo, data []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+".*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return "", err
	}
	if err = likeness(f, old); err != nil {
		return "", err
	}
	if err = f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// likeness gives f the mode and the owner of the file it replaces.
func likeness(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return f.Chmod(0o644)
	}
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(old.Mode().Perm())
}

// remedy says what to do about an error of writing.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return " (the old file is unchanged; make room and try again)"
	case errors.Is(err, syscall.EROFS):
		return " (the file system is read-only; use --runtime to change the running switch only)"
	case errors.Is(err, syscall.EBUSY):
		return " (the file is a mount point, which cannot be replaced; mount its directory instead)"
	case errors.Is(err, fs.ErrPermission):
		return " (let weftd write the directory, or use --runtime to change the running switch only)"
	}
	return ""
}
