package dhcp6

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// duidFile is the file of the server's DUID, in hex.
const duidFile = "duid"

// LoadDUID returns the server's DUID, which is kept in the folder dir and made there
// the first time (RFC 8415 11: it never changes).
func LoadDUID(dir string) ([]byte, error) {
	path := filepath.Join(dir, duidFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDUID(path); err == nil {
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the server's DUID: %w", err)
	}
	id, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(id) < minDUID || len(id) > maxDUID {
		return nil, fmt.Errorf("%s: %q is not a DUID (remove the file: weft makes a new one, and guests ask for their addresses anew)", path, text)
	}
	return id, nil
}

// makeDUID makes a DUID-UUID (RFC 6355) of a random UUID (RFC 9562 5.4). If somebody
// else makes one at the same time, his may be the one that stays.
func makeDUID(path string) (err error) {
	id := [18]byte{1: 4}
	rand.Read(id[2:]) // never fails
	id[8], id[10] = id[8]&0x0f|0x40, id[10]&0x3f|0x80

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), duidFile+".*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = fmt.Fprintf(f, "%x\n", id)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
