package fastpath

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Where a capability is missing the error says which ones are needed, and nothing of what
// the verifier has against the programs then.
func TestNewSaysWhatIsMissing(t *testing.T) {
	const child = "WEFT_WITHOUT_CAPABILITIES"
	if os.Getenv(child) != "" {
		runtime.LockOSThread()
		must(t, dropCaps(unix.CAP_PERFMON, unix.CAP_SYS_ADMIN))
		_, err := New(Config{Flows: 64})
		if !errors.Is(err, ErrKernel) || !errors.Is(err, os.ErrPermission) {
			t.Fatalf("%v, want %v and %v", err, ErrKernel, os.ErrPermission)
		}
		if s := err.Error(); !strings.Contains(s, "CAP_PERFMON") || strings.Contains(s, "weftfp_in") {
			t.Error(s)
		}
		return
	}
	isolate(t)                                                                     // or skip
	again := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v") // what the kernel can do is found out once in a process
	again.Env = append(os.Environ(), child+"=1")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// dropCaps takes capabilities from the calling thread.
func dropCaps(caps ...int) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return err
	}
	for _, c := range caps {
		d[c/32].Effective &^= 1 << (c % 32)
		d[c/32].Permitted &^= 1 << (c % 32)
	}
	return unix.Capset(&h, &d[0])
}
