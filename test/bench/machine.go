package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is where and how a bench was made.
type machine struct {
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"`
	Date     string            `json:"date"`
	Command  string            `json:"command"`
}

// versionCommands say who they are in their first line.
var versionCommands = []struct{ name, command string }{
	{"weft", "git describe --always --dirty"},
	{"Open vSwitch", "ovs-vswitchd --version"},
	{"vde_switch", "vde_switch --version"},
	{"iperf3", "iperf3 --version"},
	{"nftables", "nft --version"},
	{"slirp4netns", "slirp4netns --version"},
	{"iproute2", "ip -V"},
}

func thisMachine(ctx context.Context) machine {
	m := machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Kernel: kernel(),
		Versions: map[string]string{"Go": runtime.Version(), "congestion control": congestionControl()},
		Date:     time.Now().UTC().Format(time.RFC3339),
		Command:  "go run ./test/bench " + strings.Join(os.Args[1:], " "),
	}
	for _, v := range versionCommands {
		args := strings.Fields(v.command)
		out, err := command(ctx, "", args[0], args[1:]...)
		if err != nil {
			out = "not installed"
		}
		m.Versions[v.name], _, _ = strings.Cut(out, "\n")
	}
	return m
}

// A fact is one line about the machine.
type fact struct{ name, value string }

func (m machine) facts() []fact {
	facts := []fact{
		{"date", m.Date},
		{"command", "`" + strings.TrimSpace(m.Command) + "`"},
		{"CPU", fmt.Sprintf("%d × %s", m.CPUs, m.CPU)},
		{"kernel", m.Kernel},
		{"TCP's congestion control", m.Versions["congestion control"]},
		{"Go", m.Versions["Go"]},
	}
	for _, v := range versionCommands {
		facts = append(facts, fact{v.name, m.Versions[v.name]})
	}
	return facts
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

// congestionControl returns that of TCP, by default.
func congestionControl() string {
	name, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(name))
}
