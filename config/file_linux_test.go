package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weft/config"
)

func owner(t *testing.T, fi fs.FileInfo) [2]uint32 {
	t.Helper()
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no owner in %T", fi.Sys())
	}
	return [2]uint32{st.Uid, st.Gid}
}

// scratchMount mounts a small tmpfs that only this test's thread sees. The thread
// ends with the test.
func scratchMount(t *testing.T) string {
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

func TestSaveOnAFullDiskLeavesTheOldFile(t *testing.T) {
	dir := scratchMount(t)
	path := filepath.Join(dir, "weft.yaml")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := config.Save(path, make([]byte, 64<<10))
	if err == nil || !strings.Contains(err.Error(), "no space left on device (the old file is unchanged; make room and try again)") {
		t.Errorf("got %v", err)
	}
	holds(t, path, "old")
	alone(t, dir, 1)
}

func TestSaveOnAReadOnlyFileSystem(t *testing.T) {
	dir := scratchMount(t)
	path := filepath.Join(dir, "weft.yaml")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weft", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	err := config.Save(path, []byte("new"))
	if err == nil || !strings.Contains(err.Error(), "the file system is read-only; use --runtime") {
		t.Errorf("got %v", err)
	}
	holds(t, path, "old")
}

func TestSaveOnAMountPoint(t *testing.T) {
	dir := scratchMount(t)
	path, other := filepath.Join(dir, "weft.yaml"), filepath.Join(dir, "other.yaml")
	for _, p := range []string{path, other} {
		if err := os.WriteFile(p, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(other, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	err := config.Save(path, []byte("new"))
	if err == nil || !strings.Contains(err.Error(), "mount its directory instead") {
		t.Errorf("got %v", err)
	}
	holds(t, other, "old")
	alone(t, dir, 2)
}
