package control_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"weft/internal/control"
	"weft/internal/control/controltest"
)

// dialAs connects with other credentials: those of one thread, which is thrown away.
func dialAs(path string, uid, gid uint32, groups ...uint32) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		var first unsafe.Pointer
		if len(groups) > 0 {
			first = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0},
			{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- result{nil, errno}
				return
			}
		}
		runtime.KeepAlive(groups)
		c, err := net.Dial("unix", path)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}

func TestPeersAreJudgedByTheirCredentials(t *testing.T) {
	if os.Geteuid() != 0 {
		const text = "connecting as other users takes root: run the tests as root"
		if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	const member, nobody = 54321, 65534
	dir, err := os.MkdirTemp("", "weft-peer") // t.TempDir's parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := dir + "/weft.sock"
	l := listen(t, path, member)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := dialAs(path, nobody, nobody); err == nil {
		t.Error("the file's mode lets nobody connect")
	}
	// Open the file's mode, to see the server's own judgement.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(controltest.New(), member, zap.NewNop())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-served })

	many := make([]uint32, 100)
	for i := range many {
		many[i] = uint32(60000 + i)
	}
	for _, tt := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		want     int
	}{
		{"root", 0, 0, nil, 200},
		{"root of no group", 0, nobody, nil, 200},
		{"primary member", nobody, member, nil, 200},
		{"supplementary member", nobody, nobody, []uint32{7, member, 9}, 200},
		{"member of many groups", nobody, nobody, append(many, member), 200},
		{"stranger", nobody, nobody, nil, 403},
		{"stranger of other groups", nobody, 0, many, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return dialAs(path, tt.uid, tt.gid, tt.groups...)
			}}
			status, answer, _ := request(t, &http.Client{Transport: tr}, "GET", "/v1/status", "")
			if status != tt.want {
				t.Errorf("status %d, want %d: %s", status, tt.want, answer)
			}
			if tt.want == 403 && !strings.Contains(answer, "join group weft") {
				t.Errorf("answer without remedy: %s", answer)
			}
		})
	}
}
