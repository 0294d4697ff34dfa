// Package lab builds networks for tests as root: namespaces joined by veth pairs,
// a weftd in one of them, real QEMU guests on its ports. All of it is removed when
// the test ends, however it ends.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// patience is how long a lab waits for a condition. It is not a limit that a test
// asserts: a slow machine may need most of it.
const patience = 20 * time.Second

// limit ends a command that hangs; none is meant to run as long.
const limit = 2 * time.Minute

// A TB is the part of testing.TB that a lab needs.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
	Context() context.Context
}

// A Lab is one test's network.
type Lab struct {
	TB
	id  string // starts the names of its namespaces
	Dir string // for files; short, since it holds sockets
}

var labs atomic.Int32

// tools are what a lab runs.
var tools = []string{
	"ip", "tc", "ping", "qemu-system-x86_64", "busybox", "iperf3", "tshark", "ethtool", "setpriv", "unshare",
	"udhcpc", "dhclient", "dhcpcd", "/lib/systemd/systemd-networkd", "dnsmasq", "dig", "nft",
}

// New makes an empty lab. Without root or a tool the test is skipped; it fails if
// WEFT_E2E_REQUIRED=1.
func New(t TB) *Lab {
	t.Helper()
	if err := possible(); err != nil {
		if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
			t.Fatalf("%v", err)
		}
		t.Skipf("%v", err)
	}
	l := &Lab{TB: t, id: fmt.Sprintf("%s%d", prefix(), labs.Add(1))}
	before := hostLinks(l)
	dir, err := os.MkdirTemp("", l.id+"-")
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	l.Dir = dir
	if err := os.Chmod(dir, 0o755); err != nil { // guests run as other users
		t.Fatalf("lab: %v", err)
	}
	t.Cleanup(func() { // the last of all clean-ups
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("lab: left behind: %v", err)
		}
		if after := hostLinks(l); after != before {
			t.Errorf("lab: the machine's own links changed\nbefore:\n%s\nafter:\n%s", before, after)
		}
	})
	return l
}

// possible says what this machine lacks to run a lab, and the remedy.
func possible() error {
	if os.Geteuid() != 0 {
		return errors.New("needs network namespaces: run as root")
	}
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if missing != nil {
		return fmt.Errorf("%s missing: run `make deps`", strings.Join(missing, ", "))
	}
	return startJanitor()
}

// hostLinks lists the links of the machine's own namespace that a weft or a lab could
// have left there.
func hostLinks(l *Lab) string {
	out, err := exec.Command("ip", "-br", "link").Output()
	if err != nil {
		l.Fatalf("lab: ip link: %v", err)
	}
	var ours []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "wf-") || strings.HasPrefix(line, "wt-") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// Until waits for f to return nil. It polls, often to begin with: what is a netlink event
// for one caller is the answer of a client or an exit status for another.
func (l *Lab) Until(what string, f func() error) {
	l.Helper()
	const longest = 20 * time.Millisecond
	pause := longest / 64
	next := time.NewTimer(pause)
	defer next.Stop()
	deadline := time.After(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		next.Reset(pause)
		pause = min(2*pause, longest)
		select {
		case <-next.C:
		case <-deadline:
			l.Fatalf("%s: not after %v: %v", what, patience, err)
		case <-l.Context().Done():
			l.Fatalf("%s: test ended: %v", what, err)
		}
	}
}

// limited is the test's context, for one command.
func (l *Lab) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.Context(), limit)
}

// Write writes a file in Dir and returns its path.
func (l *Lab) Write(name, body string) string {
	l.Helper()
	path := l.Dir + "/" + name
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		l.Fatalf("lab: %v", err)
	}
	return path
}
