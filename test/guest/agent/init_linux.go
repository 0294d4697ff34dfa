package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/test/guest/call"
)

// outputMax is how much of a command's output is sent back, in bytes.
const outputMax = 1 << 20

// runInit boots the guest and serves commands. It returns only if that fails.
func runInit() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := os.Setenv("PATH", "/bin"); err != nil {
		return err
	}
	if out, err := exec.Command("/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		return fmt.Errorf("install busybox: %s: %w", out, err)
	}
	if out, err := exec.Command("/bin/ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %s: %w", out, err)
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	return newAgent(port).run()
}

func mountAll() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// An address is usable at once, and nothing is said that the test did not ask for.
	for key, value := range map[string]string{"accept_dad": "0", "router_solicitations": "0"} {
		for _, who := range []string{"all", "default"} {
			if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", who, key), []byte(value), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadModules loads the modules of dir in the order of their names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("load %s: %w", e.Name(), err)
		}
	}
	return nil
}

// openPort finds the virtio-serial port by its name.
func openPort() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(b)) == call.Port {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio-serial port %s", call.Port)
}

// An agent runs commands at once and answers as they end.
type agent struct {
	port *os.File

	mu      sync.Mutex
	out     *json.Encoder     // guarded by mu
	running map[int]*exec.Cmd // guarded by mu; by request ID
}

func newAgent(port *os.File) *agent {
	return &agent{port: port, out: json.NewEncoder(port), running: map[int]*exec.Cmd{}}
}

func (a *agent) run() error {
	if err := a.out.Encode(call.Response{}); err != nil {
		return err
	}
	lines := bufio.NewScanner(a.port)
	lines.Buffer(nil, outputMax)
	for lines.Scan() {
		var r call.Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("request %q: %w", lines.Bytes(), err)
		}
		if r.Kill {
			a.kill(r.ID)
		} else {
			a.start(r)
		}
	}
	return fmt.Errorf("agent port closed: %w", errors.Join(lines.Err(), os.ErrClosed))
}

// start runs the command in a process group of its own, so that kill ends its children too.
func (a *agent) start(r call.Request) {
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", r.Cmd)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		a.answer(call.Response{ID: r.ID, Output: err.Error(), Code: -1})
		return
	}
	a.mu.Lock()
	a.running[r.ID] = cmd
	a.mu.Unlock()
	go func() {
		err := cmd.Wait()
		b := out.Bytes()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			b = append(b, err.Error()...)
		}
		b = b[:min(len(b), outputMax)]
		a.answer(call.Response{ID: r.ID, Output: string(b), Code: cmd.ProcessState.ExitCode()})
	}()
}

func (a *agent) kill(id int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cmd := a.running[id]; cmd != nil {
		// It may have ended by itself a moment ago.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

func (a *agent) answer(r call.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, r.ID)
	if err := a.out.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "agent: answer:", err)
	}
}
