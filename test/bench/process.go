package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a child in a namespace of the lab.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Writer
	out   *output
	done  chan struct{} // closed when it has ended; err is set then
	err   error
}

// start starts a command in the namespace. Its output, both streams, is kept.
func start(space string, args ...string) (*process, error) {
	p := &process{name: args[0], out: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + space, "--"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// A group of its own, so that Ctrl-C leaves the order of ending to us; and no
	// child outlives us, whatever ends us.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// vde_switch ends when its console does: it gets one that stays open.
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// wait returns when the process has ended by itself; it returns its output.
func (p *process) wait(ctx context.Context) (string, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if p.err != nil {
		return "", fmt.Errorf("%s: %w: %s", p.name, p.err, p.out.tail())
	}
	return p.out.String(), nil
}

// awaitLine waits until the process has written text.
func (p *process) awaitLine(l *lab, text string) error {
	err := l.until(p.name+" to say "+strconv.Quote(text), func() bool {
		return p.ended() || strings.Contains(p.out.String(), text)
	})
	if err == nil && p.ended() && !strings.Contains(p.out.String(), text) {
		return fmt.Errorf("%s ended: %s", p.name, p.out.tail())
	}
	return err
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stopLimit is how long a process may take to end. weftd takes a tenth of a second a port.
const stopLimit = 30 * time.Second

// stop ends the process: politely, and after stopLimit by force.
func (p *process) stop() error {
	if p.ended() {
		return nil
	}
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopLimit):
	}
	return errors.Join(err, fmt.Errorf("%s: does not end on SIGTERM", p.name), p.kill())
}

// kill ends the process at once.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// cpu returns the CPU time that the process has used, all its threads included.
func (p *process) cpu() time.Duration {
	if p.ended() {
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	}
	return cpuOf(p.cmd.Process.Pid)
}

// cpuOf returns utime + stime of a process (proc_pid_stat(5)), 0 if it is gone.
func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold spaces. Behind it, utime is the 12th field.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

// ticks reads a time in units of USER_HZ, which is 100 on every architecture Go runs on.
func ticks(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * 10 * time.Millisecond
}

// output is what a process has written so far; any goroutine may look.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail returns the last lines, on one.
func (o *output) tail() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
