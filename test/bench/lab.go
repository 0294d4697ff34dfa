package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefix begins the name of every namespace and directory that a bench makes, followed by
// the process's id.
const prefix = "wb-"

// A lab is the scene of a contestant's runs: network namespaces, processes and a directory,
// all of which close removes. The switch stands in namespace "sw".
type lab struct {
	ctx       context.Context
	dir       string
	spaces    []string
	processes []*process
}

func newLab(ctx context.Context) (*lab, error) {
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, dir: dir}
	if err := l.addSpace("sw"); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// space returns the full name of one of the lab's namespaces.
func (l *lab) space(name string) string {
	return filepath.Base(l.dir) + "-" + name
}

// addSpace makes a namespace.
func (l *lab) addSpace(name string) error {
	full := l.space(name)
	if _, err := command(l.ctx, "", "ip", "netns", "add", full); err != nil {
		return err
	}
	l.spaces = append(l.spaces, full)
	if err := l.ip(name, "link set lo up"); err != nil {
		return err
	}
	// Nobody learns from an earlier connection, and nobody looks for a router for minutes.
	_, err := l.run(name, "", "sysctl", "-q", "-w", "net.ipv4.tcp_no_metrics_save=1", "net.ipv6.conf.default.router_solicitations=0")
	return err
}

// close ends the processes, last first, and removes the rest.
func (l *lab) close() error {
	var errs []error
	for _, p := range slices.Backward(l.processes) {
		errs = append(errs, p.stop())
	}
	for _, s := range l.spaces {
		// Not with l.ctx: it may have ended, and this must be done all the same.
		_, err := command(context.Background(), "", "ip", "netns", "del", s)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

// sweep removes the namespaces and directories of benches that were killed.
func sweep() error {
	var errs []error
	for _, path := range leavings("/run/netns") {
		_, err := command(context.Background(), "", "ip", "netns", "del", filepath.Base(path))
		errs = append(errs, err)
	}
	for _, path := range leavings(os.TempDir()) {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// leavings returns the files of a directory that are named after a bench that is gone.
func leavings(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, prefix+"*-*")) // the pattern is well-formed
	return slices.DeleteFunc(found, func(path string) bool {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if _, err := strconv.Atoi(owner); err != nil {
			return true // not ours
		}
		_, err := os.Readlink("/proc/" + owner + "/exe")
		return err == nil // its bench is running
	})
}

// start starts a long-running process in a namespace of the lab.
func (l *lab) start(space string, args ...string) (*process, error) {
	p, err := start(l.space(space), args...)
	if err == nil {
		l.processes = append(l.processes, p)
	}
	return p, err
}

// guest starts this program again as one of the guests: see runGuest.
func (l *lab) guest(space string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(space, append([]string{self, guestCommand}, args...)...)
}

// run runs a command in a namespace of the lab and returns what it printed.
func (l *lab) run(space, stdin string, args ...string) (string, error) {
	return command(l.ctx, stdin, "nsenter", append([]string{"--net=/run/netns/" + l.space(space), "--"}, args...)...)
}

// ip gives a namespace's ip(8) a batch of lines.
func (l *lab) ip(space string, lines ...string) error {
	_, err := command(l.ctx, strings.Join(lines, "\n")+"\n", "ip", "-n", l.space(space), "-batch", "-")
	return err
}

// veth connects a guest's namespace to "sw": device "eth0" there, device p.name here.
func (l *lab) veth(p port) error {
	err := l.ip("sw", fmt.Sprintf("link add %s type veth peer name eth0 netns %s", p.name, l.space(p.space)),
		fmt.Sprintf("link set %s up", p.name))
	if err != nil {
		return err
	}
	return l.address(p.space, "eth0", p.address)
}

// adopt moves a device of "sw" to a guest's namespace as "eth0".
func (l *lab) adopt(p port) error {
	if err := l.ip("sw", fmt.Sprintf("link set %s netns %s name eth0", p.name, l.space(p.space))); err != nil {
		return err
	}
	return l.address(p.space, "eth0", p.address)
}

func (l *lab) address(space, device string, a netip.Prefix) error {
	return l.ip(space, fmt.Sprintf("addr add %s dev %s", a, device), fmt.Sprintf("link set %s up", device))
}

// tap makes the persistent TAP p.name in "sw", for a guest to open by name.
func (l *lab) tap(p port) error {
	return l.ip("sw", fmt.Sprintf("tuntap add dev %s mode tap vnet_hdr", p.name), fmt.Sprintf("link set %s up", p.name))
}

// packets returns how many packets the devices of "sw" that ip-link(8) selects have
// received and sent.
func (l *lab) packets(selection ...string) (rx, tx uint64, err error) {
	out, err := l.run("sw", "", append([]string{"ip", "-j", "-s", "link", "show"}, selection...)...)
	if err != nil {
		return 0, 0, err
	}
	var links []struct {
		Stats64 struct {
			RX, TX struct{ Packets uint64 }
		}
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		return 0, 0, fmt.Errorf("ip -j -s link: %w", err)
	}
	for _, k := range links {
		rx += k.Stats64.RX.Packets
		tx += k.Stats64.TX.Packets
	}
	return rx, tx, nil
}

// until waits for a condition that is soon fulfilled.
func (l *lab) until(what string, condition func() bool) error {
	return l.within(10*time.Second, what, condition)
}

// within waits for a condition, looking every five milliseconds.
func (l *lab) within(limit time.Duration, what string, condition func() bool) error {
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("%s: not within %v", what, limit)
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

// command runs a program to its end and returns what it printed.
func command(ctx context.Context, stdin string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
