package lab

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weft/internal/control/api"
	"weft/test/guest"
)

// A Weftd is the daemon under test. It runs in a namespace, with its own socket
// and document.
type Weftd struct {
	lab    *Lab
	ns     *NS
	Config string // path of the document
	Socket string

	// Wrapper is put in front of the daemon's command line: NS.Own for one.
	Wrapper []string

	cmd  *exec.Cmd // nil: not running
	done chan error
	log  *syncBuffer
}

// binaries builds the daemon and the client and returns their folder.
var binaries = sync.OnceValues(func() (string, error) {
	root, err := guest.Repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "build", "lab")
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "./cmd/weft", "./cmd/weftd")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weft: %w: %s", err, out)
	}
	return dir, nil
})

func (l *Lab) binary(name string) string {
	l.Helper()
	dir, err := binaries()
	if err != nil {
		l.Fatalf("%v", err)
	}
	return filepath.Join(dir, name)
}

// NewWeftd prepares a daemon in the namespace without starting it.
func (n *NS) NewWeftd(document string) *Weftd {
	n.lab.Helper()
	dir, err := os.MkdirTemp(n.lab.Dir, "weftd-")
	if err != nil {
		n.lab.Fatalf("lab: %v", err)
	}
	w := &Weftd{
		lab: n.lab, ns: n, log: &syncBuffer{},
		Config: dir + "/weft.yaml", Socket: dir + "/weft.sock",
	}
	w.Edit(document)
	n.lab.Cleanup(func() {
		w.Stop()
		if n.lab.Failed() {
			n.lab.Logf("weftd:\n%s", w.log.tail())
		}
	})
	return w
}

// Weftd starts a daemon in the namespace and waits until it answers.
func (n *NS) Weftd(document string) *Weftd {
	n.lab.Helper()
	w := n.NewWeftd(document)
	w.Start()
	return w
}

// Edit replaces the document's text, as Document has it; the daemon is not told.
func (w *Weftd) Edit(document string) {
	w.lab.Helper()
	if err := os.WriteFile(w.Config, []byte(Document(document)), 0o644); err != nil {
		w.lab.Fatalf("lab: %v", err)
	}
}

// Command returns the daemon's command line, behind the words of wrapper if any.
func (w *Weftd) Command(wrapper ...string) *exec.Cmd {
	w.lab.Helper()
	words := append(slices.Concat(w.Wrapper, wrapper), w.lab.binary("weftd"),
		"--config", w.Config, "--socket", w.Socket, "--log-level", "debug")
	return exec.Command(words[0], words[1:]...)
}

// Start starts the daemon and waits until it answers.
func (w *Weftd) Start(wrapper ...string) {
	w.lab.Helper()
	if err := w.launch(wrapper...); err != nil {
		w.lab.Fatalf("weftd ended: %v\n%s", err, w.log)
	}
}

// Fails runs the daemon, which must refuse to start, and returns what it said.
func (w *Weftd) Fails(wrapper ...string) string {
	w.lab.Helper()
	if err := w.launch(wrapper...); err == nil {
		w.lab.Errorf("weftd runs, want it to refuse")
		w.Stop()
	}
	return w.Log()
}

// launch starts the daemon and waits until it answers, or ends: then it returns why.
func (w *Weftd) launch(wrapper ...string) error {
	w.lab.Helper()
	cmd := w.Command(wrapper...)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	if err := w.ns.Start(cmd); err != nil {
		return err
	}
	w.cmd, w.done = cmd, make(chan error, 1)
	go func(done chan<- error) { done <- cmd.Wait() }(w.done)
	var ended error
	w.lab.Until("weftd answers", func() error {
		select {
		case err := <-w.done:
			w.cmd = nil
			ended = cmp.Or(err, errors.New("exit status 0"))
			return nil
		default:
		}
		out, err := w.Weft("status", "--json")
		if err != nil {
			return err
		}
		var status api.Status
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return err
		}
		if status.PID != cmd.Process.Pid {
			return fmt.Errorf("process %d answers, not %d", status.PID, cmd.Process.Pid)
		}
		return nil
	})
	return ended
}

// Stop ends the daemon as systemd would, and waits.
func (w *Weftd) Stop() { w.end(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL, and waits.
func (w *Weftd) Kill() { w.end(syscall.SIGKILL) }

// Leave ends the daemon as `systemctl restart` would, and waits.
func (w *Weftd) Leave() { w.end(syscall.SIGUSR2) }

// Cleanup removes what a killed daemon left in the kernel.
func (w *Weftd) Cleanup() {
	w.lab.Helper()
	words := append(slices.Clone(w.Wrapper), w.lab.binary("weftd"), "--cleanup", "--socket", w.Socket)
	if out, err := w.ns.output(exec.Command(words[0], words[1:]...)); err != nil {
		w.lab.Fatalf("weftd --cleanup: %v: %s", err, out)
	}
}

func (w *Weftd) end(s syscall.Signal) {
	w.lab.Helper()
	if w.cmd == nil {
		return
	}
	w.Signal(s)
	var err error
	select {
	case err = <-w.done:
	case <-time.After(patience):
		w.lab.Errorf("weftd: runs %v after %v", patience, s)
		w.Signal(syscall.SIGKILL)
		<-w.done
	}
	w.cmd = nil
	if exit := (*exec.ExitError)(nil); s != syscall.SIGKILL && errors.As(err, &exit) {
		w.lab.Errorf("weftd: on %v: %v", s, err)
	}
}

// Signal sends the daemon a signal.
func (w *Weftd) Signal(s syscall.Signal) {
	w.lab.Helper()
	if err := w.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.lab.Errorf("weftd: %v", err)
	}
}

// PID returns the daemon's process ID.
func (w *Weftd) PID() int { return w.cmd.Process.Pid }

// Log returns what the daemon has logged.
func (w *Weftd) Log() string { return w.log.String() }

// Up waits until the ports are up.
func (w *Weftd) Up(ports ...string) {
	w.lab.Helper()
	for _, p := range ports {
		w.PortIs(p, "up")
	}
}

// PortIs waits until the port's state is state, and returns the port.
func (w *Weftd) PortIs(name, state string) api.Port {
	w.lab.Helper()
	var port api.Port
	w.lab.Until("port "+name+" "+state, func() error {
		for _, p := range w.Ports() {
			if p.Name != name {
				continue
			}
			if port = p; p.State == state {
				return nil
			}
			return fmt.Errorf("it is %s (%s)", p.State, p.Detail)
		}
		return errors.New("no such port")
	})
	return port
}

// UnitCapabilities returns the CapabilityBoundingSet of weft's systemd unit in the words
// of setpriv.
func (l *Lab) UnitCapabilities() string {
	l.Helper()
	root, err := guest.Repository()
	if err != nil {
		l.Fatalf("%v", err)
	}
	unit, err := os.ReadFile(filepath.Join(root, "packaging/weftd.service"))
	if err != nil {
		l.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(unit)) {
		if list, ok := strings.CutPrefix(line, "CapabilityBoundingSet="); ok {
			set := "-all"
			for _, c := range strings.Fields(list) {
				set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
			}
			return set
		}
	}
	l.Fatalf("the unit has no CapabilityBoundingSet")
	return ""
}
