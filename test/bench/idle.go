package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func (b *bench) idlePorts() experiment {
	return experiment{
		table: table{
			Name: "idle ports", Title: "What 64 more ports cost a running pair",
			Note: "iperf3 with one stream between two host ports, all frames by the daemon; the further ports are TAPs that an idle guest holds. " +
				"Twice the rounds of the other tables.",
			Metrics: []metric{{"tcp", "Gbit/s", "%.2f"}, {"tcp cpu", "s/GB", "%.3f"}, others},
		},
		contestants: []contestant{weftCore, crowds},
		rounds:      2 * b.rounds,
		run: func(l *lab, c contestant) (sample, error) {
			s, err := c.build(l, pair(host))
			if err != nil {
				return nil, err
			}
			if err := l.reachable("a", guestAddress(2).Addr().String()); err != nil {
				return nil, err
			}
			return b.stream(l, s, "a")
		},
	}
}

func (b *bench) idleDaemon() experiment {
	return experiment{
		table: table{
			Name: "idle daemon", Title: "An idle daemon with ten ports",
			Note: "Four host ports, three devices and three TAPs with a guest (vde_switch: ten TAPs of its own), watched for ten seconds " +
				"from ten seconds on, when the guests' stacks have configured themselves. Open vSwitch's figure is ovs-vswitchd's alone.",
			Metrics: []metric{{"resident", "MB", "%.1f"}, {"cpu", "%", "%.2f"}},
		},
		contestants: []contestant{weft, ovs, vde},
		rounds:      1,
		run:         idleUsage,
	}
}

// tenPorts returns the ports of the idle daemon, some of each kind that it knows.
func tenPorts(hostOnly bool) (ports, held []port) {
	for i := range 10 {
		name := fmt.Sprintf("p%d", i)
		switch {
		case hostOnly || i < 4:
			ports = append(ports, port{name: name, kind: host, space: name, address: guestAddress(i + 1)})
		case i < 7:
			ports = append(ports, port{name: name, kind: device, space: name, address: guestAddress(i + 1)})
		default:
			held = append(held, port{name: name, kind: tap})
		}
	}
	return append(ports, held...), held
}

func idleUsage(l *lab, c contestant) (sample, error) {
	ports, held := tenPorts(c.name == vde.name)
	s, err := c.build(l, ports)
	if err != nil {
		return nil, err
	}
	if err := l.hold(s, held); err != nil {
		return nil, err
	}
	if err := l.reachable("p0", ports[1].address.Addr().String()); err != nil {
		return nil, err
	}
	pid, err := l.switchPID()
	if err != nil {
		return nil, err
	}
	if err := l.rest(10 * time.Second); err != nil {
		return nil, err
	}
	const watch = 10 * time.Second
	begin := cpuOf(pid)
	if err := l.rest(watch); err != nil {
		return nil, err
	}
	resident, err := residentOf(pid)
	return sample{"resident": resident, "cpu": 100 * (cpuOf(pid) - begin).Seconds() / watch.Seconds()}, err
}

// switchPID returns the process that forwards: the last daemon that was started
// before the guests.
func (l *lab) switchPID() (int, error) {
	for _, p := range l.processes {
		for _, daemon := range []string{binary, "ovs-vswitchd", "vde_switch"} {
			if strings.Contains(strings.Join(p.cmd.Args, " "), daemon) {
				return p.cmd.Process.Pid, nil
			}
		}
	}
	return 0, errors.New("no switch was started")
}

// rest lets time pass.
func (l *lab) rest(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// residentOf returns a process's resident memory in MB (10^6 bytes).
func residentOf(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			return float64(kib) * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
