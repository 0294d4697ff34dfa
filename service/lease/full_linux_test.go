package lease

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a small tmpfs that only this test's thread sees. The thread ends with
// the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
			t.Fatalf("no mount namespace: %v (run as root)", err)
		}
		t.Skipf("no mount namespace: %v (run as root)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weft", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestNoLeaseOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	s := ten
	s.Ranges = []Range{span4("192.0.2.0", "192.0.2.255")}
	b := reopen(t, dir, s)
	given := 0
	for n := range 256 {
		_, err := tryJoin(b, start, guest(n))
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		given++
	}
	if given == 0 || given == 256 {
		t.Fatalf("%d leases on a disk of 16 kB", given)
	}
	_, err := tryJoin(b, start, guest(1000))
	wantErr(t, err, syscall.ENOSPC)
	content, err := os.ReadFile(filepath.Join(dir, "net.leases"))
	if err != nil || len(content) == 0 || content[len(content)-1] != '\n' {
		t.Errorf("half a line is left at the end of %d bytes: %v", len(content), err)
	}
	if err := unix.Mount("weft", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	join(t, b, start, guest(1000))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, dir, s)
	if b.Damage() != nil || len(b.List()) != given+1 {
		t.Errorf("%v; %d leases, want %d", b.Damage(), len(b.List()), given+1)
	}
}

func TestOpenOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "net"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}
