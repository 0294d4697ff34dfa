package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weft/internal/control"
)

func listen(t *testing.T, path string, gid int) *control.Listener {
	t.Helper()
	l, err := control.Listen(path, gid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestListenModeAndGroup(t *testing.T) {
	for gid, want := range map[int]fs.FileMode{-1: 0o600, os.Getegid(): 0o660} {
		path := filepath.Join(t.TempDir(), "run", "weft.sock") // makes the directory
		listen(t, path, gid)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want|fs.ModeSocket {
			t.Errorf("group %d: mode %s, want %s", gid, got, want|fs.ModeSocket)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); gid >= 0 && got != gid {
			t.Errorf("group %d, want %d", got, gid)
		}
	}
}

func TestListenCloseLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l := listen(t, dir+"/weft.sock", -1)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := t.TempDir() + "/weft.sock"
	// As a killed daemon leaves it: the socket file, and the lock's file without lock.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := errors.Join(dead.Close(), os.WriteFile(path+".lock", []byte("1\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	listen(t, path, -1)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestListenRefusesSecondDaemon(t *testing.T) {
	path := t.TempDir() + "/weft.sock"
	want := fmt.Sprintf("another weftd serves %s (pid %d); stop it or use --socket", path, os.Getpid())
	listen(t, path, -1)
	if _, err := control.Listen(path, -1); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// Somebody removed the lock's file: the answering socket still tells.
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path, -1); err == nil || err.Error() != want {
		t.Errorf("without lock: got %v, want %s", err, want)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first daemon was disturbed: %v", err)
	}
	_ = c.Close()
}

func TestListenOfManyOneWins(t *testing.T) {
	for range 20 {
		path := t.TempDir() + "/weft.sock"
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []*control.Listener
		for range 8 {
			wg.Go(func() {
				l, err := control.Listen(path, -1)
				if err != nil {
					if !strings.Contains(err.Error(), "another weftd serves") {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				won = append(won, l)
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Errorf("%d daemons serve one socket", len(won))
		}
		for _, l := range won {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestListenRefusesWhatIsNoSocket(t *testing.T) {
	path := t.TempDir() + "/weft.sock"
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path, -1); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file was touched")
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock left behind: %v", err)
	}
	long := t.TempDir() + "/" + strings.Repeat("x", 108)
	if _, err := control.Listen(long, -1); err == nil || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("long path: got %v", err)
	}
}
