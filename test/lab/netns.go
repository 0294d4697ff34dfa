package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft/test/guest"
)

// A NS is a network namespace. It can play a guest, a host or the world outside.
type NS struct {
	lab  *Lab
	Name string // as ip-netns(8) knows it
	own  string // folder of its own files, see Own; empty: none yet
}

// NS makes a namespace.
func (l *Lab) NS(name string) *NS {
	l.Helper()
	n := &NS{lab: l, Name: l.id + name}
	l.Cleanup(n.remove)
	l.host("ip", "netns", "add", n.Name)
	n.Run("ip link set lo up")
	// An address is usable at once, and nothing is sent that the test did not ask for.
	for _, key := range []string{"accept_dad=0", "router_solicitations=0"} {
		n.Run("sysctl -qw net.ipv6.conf.all.%[1]s net.ipv6.conf.default.%[1]s", key)
	}
	return n
}

// host runs a command in the machine's own namespace.
func (l *Lab) host(name string, args ...string) {
	l.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// remove deletes the namespace. A process that is still in it is ended and is a failure.
func (n *NS) remove() {
	for _, p := range n.processes() {
		n.lab.Errorf("left behind in %s: process %d (%s)", n.Name, p, commandLine(p))
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
	if out, err := exec.Command("ip", "netns", "delete", n.Name).CombinedOutput(); err != nil {
		n.lab.Errorf("delete namespace: %v: %s", err, out)
	}
}

// processes lists those that are in the namespace.
func (n *NS) processes() []int {
	var own syscall.Stat_t
	if syscall.Stat(n.path(), &own) != nil {
		return nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil
	}
	var found []int
	for _, d := range dirs {
		var st syscall.Stat_t
		if syscall.Stat(d, &st) == nil && st.Ino == own.Ino && st.Dev == own.Dev {
			var pid int
			if _, err := fmt.Sscanf(d, "/proc/%d/", &pid); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

func commandLine(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
}

func (n *NS) path() string { return "/run/netns/" + n.Name }

// Do calls f on a thread that is in the namespace. What f starts stays there.
func (n *NS) Do(f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	ns, err := os.Open(n.path())
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", n.Name, err)
	}
	err = f()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with this goroutine.
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// Start starts a command in the namespace. It dies with the test.
func (n *NS) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.Do(cmd.Start)
}

// Sh runs a shell command in the namespace and returns what it says on standard output.
// What it says on standard error is in the error only: ip(8) for one complains there
// about namespaces of others and goes on.
func (n *NS) Sh(ctx context.Context, command string) (string, error) {
	return n.output(exec.CommandContext(ctx, "sh", "-c", command))
}

// output runs a command in the namespace, as Sh does.
func (n *NS) output(cmd *exec.Cmd) (string, error) {
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := n.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out.String(), err
}

// Run runs a shell command in the namespace, which must succeed.
func (n *NS) Run(format string, args ...any) string {
	n.lab.Helper()
	command := fmt.Sprintf(format, args...)
	ctx, cancel := n.lab.limited()
	defer cancel()
	out, err := n.Sh(ctx, command)
	if err != nil {
		n.lab.Fatalf("%s: %s: %v: %s", n.Name, command, err, out)
	}
	return out
}

// Background starts a command that runs until the test ends, and returns what to
// call to end it earlier.
func (n *NS) Background(name string, args ...string) (stop func()) {
	n.lab.Helper()
	out := &syncBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := n.Start(cmd); err != nil {
		n.lab.Fatalf("%s: %s: %v", n.Name, name, err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			end(cmd)
			if n.lab.Failed() {
				n.lab.Logf("%s: %s: %s", n.Name, name, out.tail())
			}
		}
	}
	n.lab.Cleanup(stop)
	return stop
}

// end ends a command: politely, since it may have children, and after a while by force.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(patience/4, func() { _ = cmd.Process.Kill() })
	defer force.Stop()
	_ = cmd.Wait()
}

// Serve starts the server end of checked transfers.
func (n *NS) Serve() {
	n.lab.Helper()
	n.Background(n.agent(), "serve", ":"+transferPort)
	n.lab.listens(n, transferPort)
}

func (n *NS) agent() string {
	img, err := guest.Build()
	if err != nil {
		n.lab.Fatalf("%v", err)
	}
	return img.Agent
}

// Veth joins two namespaces by a veth pair, both ends up.
func (l *Lab) Veth(a *NS, dev string, b *NS, peer string) {
	l.Helper()
	l.host("ip", "-n", a.Name, "link", "add", dev, "type", "veth", "peer", "name", peer, "netns", b.Name)
	a.Run("ip link set %s up", dev)
	b.Run("ip link set %s up", peer)
}

// Addresses gives a device addresses (of either family) and sets it up.
func (n *NS) Addresses(dev string, addrs ...string) {
	n.lab.Helper()
	for _, a := range addrs {
		option := ""
		if p, err := netip.ParsePrefix(a); err == nil && p.Addr().Is6() {
			option = "nodad"
		}
		n.Run("ip addr add %s dev %s %s", a, dev, option)
	}
	n.Run("ip link set %s up", dev)
}
