package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

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
	return NewDocument(data)
}

// Save puts data in the place of the file at path in one step: a reader, and a
// machine that loses power, finds the old content or the new. Mode and owner stay;
// a symbolic link stays, its target changes. After an error the old file is there.
func Save(path string, data []byte) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = path, nil
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	old, err := os.Stat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return fmt.Errorf("write configuration: %w", err)
	case !old.Mode().IsRegular():
		return fmt.Errorf("write configuration: %s is not a regular file", real)
	case old.Mode()&0o222 == 0:
		// Root could. Who takes the write bits away wants the file left alone.
		return fmt.Errorf("write configuration: %s is read-only (chmod u+w %s, or use --runtime to change the running switch only)", real, real)
	}
	if err := replace(real, old, data); err != nil {
		return fmt.Errorf("write configuration: %w%s", err, remedy(err))
	}
	return nil
}

// replace writes a new file beside real and gives it real's name.
func replace(real string, old fs.FileInfo, data []byte) (err error) {
	dir := filepath.Dir(real)
	f, err := os.CreateTemp(dir, "."+filepath.Base(real)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = likeness(f, old); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), real); err != nil {
		return err
	}
	// The new content is there; a directory that cannot be synced (some network
	// filesystems) is no reason to say that it is not.
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
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

// remedy says what to do about an error of replace.
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
