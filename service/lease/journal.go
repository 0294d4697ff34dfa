package lease

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A file is what a journal needs of *os.File.
type file interface {
	Write(p []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// A journal is the file of a book: lines are added at its end, and now and then it is
// written anew with what still holds.
type journal struct {
	path  string
	file  file // nil: its end is not known, it has to be written anew
	size  int64
	lines int

	open func(path string) (file, error) // for writing, empty
}

// create opens a file for writing as journals do.
func create(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

// add writes lines at the end of the file, all of them or none, and with sync returns
// when they are on the disk. After an error the journal may be broken: see rewrite.
func (j *journal) add(lines [][]byte, sync bool) error {
	var all []byte
	for _, l := range lines {
		all = append(all, l...)
	}
	if _, err := j.file.Write(all); err != nil {
		if j.file.Truncate(j.size) != nil {
			j.abandon()
		}
		return err
	}
	if sync {
		if err := j.file.Sync(); err != nil {
			// What the kernel could not write it may have forgotten: a second Sync
			// would succeed and mean nothing.
			j.abandon()
			return err
		}
	}
	j.size += int64(len(all))
	j.lines += len(lines)
	return nil
}

func (j *journal) abandon() {
	_ = j.file.Close() // it is broken already
	j.file = nil
}

// broken reports whether the file has to be written anew before anything is added.
func (j *journal) broken() bool { return j.file == nil }

// rewrite makes the file anew, in one step: after a crash either the old or the new one
// is there.
func (j *journal) rewrite(lines [][]byte) error {
	next := j.path + ".new"
	f, err := j.open(next)
	if err != nil {
		return err
	}
	size, err := writeAll(f, lines)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err != nil {
		err = errors.Join(err, f.Close())
		if rm := os.Remove(next); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return err
	}
	if j.file != nil {
		_ = j.file.Close() // of the old file, which is gone
	}
	j.file, j.size, j.lines = f, size, len(lines)
	if err := syncFolder(filepath.Dir(j.path)); err != nil {
		j.abandon()
		return err
	}
	return nil
}

func writeAll(f file, lines [][]byte) (size int64, err error) {
	w := bufio.NewWriterSize(f, 1<<16)
	for _, l := range lines {
		n, err := w.Write(l)
		if size += int64(n); err != nil {
			return 0, err
		}
	}
	return size, w.Flush()
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Sync(), j.file.Close())
	j.file = nil
	return err
}

// setAside keeps a copy of the file for whoever wants to look into it.
func (j *journal) setAside() (string, error) {
	aside := j.path + ".damaged"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Link(j.path, aside); err != nil {
		return "", fmt.Errorf("set the damaged file aside: %w", err)
	}
	return aside, nil
}
