package dhcp6

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestDUIDIsKeptOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "if", "missing")
	first, err := LoadDUID(dir)
	if err != nil || len(first) != 18 || first[0] != 0 || first[1] != 4 || first[8]>>4 != 4 || first[10]>>6 != 2 {
		t.Fatalf("%x, %v: want a DUID-UUID (RFC 6355) of a random UUID", first, err)
	}
	again, err := LoadDUID(dir)
	if err != nil || !bytes.Equal(again, first) {
		t.Errorf("first %x, then %x, %v", first, again, err)
	}
	if other, err := LoadDUID(t.TempDir()); err != nil || bytes.Equal(other, first) {
		t.Errorf("another host has %x, %v", other, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left over: %v, %v", files, err)
	}
}

func TestDUIDIsOneForAllWhoMakeItAtOnce(t *testing.T) {
	dir := t.TempDir()
	got := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = LoadDUID(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range got {
		if !bytes.Equal(id, got[0]) {
			t.Errorf("%x and %x", id, got[0])
		}
	}
}

func TestBrokenDUIDIsTold(t *testing.T) {
	for _, text := range []string{"", "\n", "xyz", "0004", strings.Repeat("00", 131)} {
		dir := t.TempDir()
		path := filepath.Join(dir, "duid")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadDUID(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := LoadDUID("/dev/null"); err == nil || !strings.Contains(err.Error(), "the server's DUID: ") {
		t.Error(err)
	}
}
