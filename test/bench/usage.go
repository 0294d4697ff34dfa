package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuMethod says in the report what the CPU figures are.
const cpuMethod = "CPU time is utime + stime of all processes of a run, switch and guests, plus ksoftirqd's. " +
	"Work that the kernel does for a process in softirq context is in its stime, unless the kernel was built with " +
	"CONFIG_IRQ_TIME_ACCOUNTING; then it shows under “others”. “Others” is the busy time of the whole machine " +
	"(/proc/stat) that is not in the CPU time, as a share of all CPUs: where it is high, somebody else used the machine " +
	"and the figures of the row are too low."

// usage is CPU time up to some moment.
type usage struct {
	at      time.Time
	ours    time.Duration // of the lab's processes and ksoftirqd
	machine time.Duration // of all CPUs, busy
	whole   time.Duration // of all CPUs, busy and idle
}

func (l *lab) usage() usage {
	u := usage{at: time.Now()}
	for _, p := range l.processes {
		u.ours += p.cpu()
	}
	for _, pid := range ksoftirqds() {
		u.ours += cpuOf(pid)
	}
	u.machine, u.whole = machineTime()
	return u
}

// since returns the CPU time spent from u until now, and the share of the machine
// that others used.
func (l *lab) since(u usage) (ours time.Duration, others float64) {
	now := l.usage()
	ours = now.ours - u.ours
	if whole := now.whole - u.whole; whole > 0 {
		others = max(0, float64(now.machine-u.machine-ours)/float64(whole))
	}
	return ours, others
}

// machineTime returns what all CPUs have worked, and worked and idled (proc_stat(5)).
func machineTime() (busy, whole time.Duration) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, field := range strings.Fields(line) {
		const idle, iowait, guest = 4, 5, 9 // guest time is in user time already
		if i == 0 || i >= guest {
			continue
		}
		whole += ticks(field)
		if i != idle && i != iowait {
			busy += ticks(field)
		}
	}
	return busy, whole
}

// ksoftirqds returns the kernel threads that take over softirq work from processes.
func ksoftirqds() []int {
	var pids []int
	found, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is well-formed
	for _, path := range found {
		name, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(name), "ksoftirqd/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
