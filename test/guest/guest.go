// Package guest runs real virtual machines for tests: QEMU with Debian's cloud
// kernel and an initramfs whose process 1 takes commands from the test.
package guest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/test/guest/call"
)

// A NIC is a virtio-net device of a guest, on a TAP that somebody else made.
type NIC struct {
	TAP    string
	MAC    string
	Queues int // more than 1: the TAP is multi-queue
}

// Config describes a guest.
type Config struct {
	Name string
	NICs []NIC

	CPUs, Memory int // 0: 1, and 128 MiB

	// UID is the user that QEMU runs as; it must be allowed to open the TAPs.
	UID int
	// Start starts QEMU where the TAPs are, e.g. in a network namespace; nil: here.
	Start func(*exec.Cmd) error
	// Log gets QEMU's messages and the guest's console.
	Log io.Writer
}

// A Guest is a running virtual machine.
type Guest struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once QEMU has ended and err is set
	err  error

	mu      sync.Mutex
	out     *os.File
	last    int                   // guarded by mu; ID of the last request
	waiting map[int]chan<- answer // guarded by mu
}

type answer struct {
	call.Response
	err error
}

// Boot starts a guest and waits until it takes commands.
func Boot(ctx context.Context, img Image, c Config) (*Guest, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("guest %s: socketpair: %w", c.Name, err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "agent")
	defer theirs.Close()
	g := &Guest{done: make(chan struct{}), out: ours, waiting: map[int]chan<- answer{}}
	if err := g.start(img, c, theirs); err != nil {
		return nil, errors.Join(fmt.Errorf("guest %s: %w", c.Name, err), ours.Close())
	}
	ready := make(chan answer, 1)
	g.waiting[0] = ready
	go g.read(ours)
	go g.wait()
	select {
	case a := <-ready:
		if a.err != nil {
			return nil, fmt.Errorf("guest %s: did not boot: %w", c.Name, errors.Join(a.err, g.Kill()))
		}
		return g, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("guest %s: did not boot: %w", c.Name, errors.Join(ctx.Err(), g.Kill()))
	}
}

// start starts QEMU, with its end of the agent's line as descriptor 3. Kernel and
// initramfs are descriptors too: the user may not reach their folder.
func (g *Guest) start(img Image, c Config, line *os.File) error {
	files := []*os.File{line}
	for _, name := range []string{img.Kernel, img.Initramfs} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	words := append(user(c.UID), "qemu-system-x86_64")
	words = append(words, args(c)...)
	g.cmd = exec.Command(words[0], words[1:]...)
	g.cmd.ExtraFiles = files
	g.cmd.Stdout, g.cmd.Stderr = c.Log, c.Log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.Start == nil {
		return g.cmd.Start()
	}
	return c.Start(g.cmd)
}

// user returns the words in front of a command that make uid run it. Where udev has not
// opened /dev/net/tun to all users, as it does by default, they see one of their own.
func user(uid int) []string {
	if uid == 0 {
		return nil
	}
	script := `mount -t tmpfs tun /dev/net && mknod -m 666 /dev/net/tun c 10 200 &&
exec setpriv --reuid="$0" --regid="$0" --clear-groups --pdeathsig=KILL -- "$@"`
	return []string{"unshare", "--mount", "sh", "-c", script, strconv.Itoa(uid)}
}

// args returns QEMU's arguments. The emulator suffices: it boots in two seconds, and
// needs no /dev/kvm that QEMU's user may open.
func args(c Config) []string {
	cpus, threads := cmp.Or(c.CPUs, 1), "single"
	if cpus > 1 {
		threads = "multi"
	}
	a := []string{
		"-name", c.Name, "-nodefaults", "-no-user-config", "-no-reboot", "-nographic",
		"-accel", "tcg,thread=" + threads, "-cpu", "max", "-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(cmp.Or(c.Memory, 128)),
		"-kernel", "/proc/self/fd/4", "-initrd", "/proc/self/fd/5",
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on 8250.nr_uarts=1 tsc=reliable no_timer_check",
		"-serial", "stdio",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent,fd=3",
		"-device", "virtserialport,chardev=agent,name=" + call.Port,
	}
	for i, n := range c.NICs {
		netdev := fmt.Sprintf("tap,id=n%d,ifname=%s,script=no,downscript=no", i, n.TAP)
		device := fmt.Sprintf("virtio-net-pci,netdev=n%d,mac=%s,romfile=", i, n.MAC)
		if n.Queues > 1 {
			netdev += fmt.Sprintf(",queues=%d", n.Queues)
			device += fmt.Sprintf(",mq=on,vectors=%d", 2*n.Queues+2)
		}
		a = append(a, "-netdev", netdev, "-device", device)
	}
	return a
}

// read hands the agent's answers to those who wait for them.
func (g *Guest) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var a answer
		a.err = json.Unmarshal(lines.Bytes(), &a.Response)
		g.mu.Lock()
		ch := g.waiting[a.ID]
		delete(g.waiting, a.ID)
		g.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
}

// wait ends all who wait for an answer once QEMU is gone.
func (g *Guest) wait() {
	g.err = g.cmd.Wait()
	close(g.done)
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, ch := range g.waiting {
		ch <- answer{err: fmt.Errorf("QEMU ended: %w", errors.Join(g.err, os.ErrClosed))}
		delete(g.waiting, id)
	}
	_ = g.out.Close()
}

// A Proc is a command that runs in a guest.
type Proc struct {
	g      *Guest
	id     int
	answer <-chan answer
}

// Start starts a shell command in the guest.
func (g *Guest) Start(cmd string) (*Proc, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	ch := make(chan answer, 1)
	if err := json.NewEncoder(g.out).Encode(call.Request{ID: g.last, Cmd: cmd}); err != nil {
		return nil, fmt.Errorf("guest: %s: %w", cmd, err)
	}
	g.waiting[g.last] = ch
	return &Proc{g: g, id: g.last, answer: ch}, nil
}

// Wait returns the command's output, and an error if its exit status is not 0. If
// ctx ends first, so does the command.
func (p *Proc) Wait(ctx context.Context) (string, error) {
	select {
	case a := <-p.answer:
		if a.err == nil && a.Code != 0 {
			a.err = fmt.Errorf("exit status %d", a.Code)
		}
		return a.Output, a.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), p.Kill())
	}
}

// Kill ends the command. Wait returns after it as after any end.
func (p *Proc) Kill() error {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return json.NewEncoder(p.g.out).Encode(call.Request{ID: p.id, Kill: true})
}

// Run runs a shell command in the guest to its end.
func (g *Guest) Run(ctx context.Context, cmd string) (string, error) {
	p, err := g.Start(cmd)
	if err != nil {
		return "", err
	}
	return p.Wait(ctx)
}

// Stop ends QEMU as its operator would, and waits.
func (g *Guest) Stop() error { return g.signal(syscall.SIGTERM) }

// Kill ends QEMU as a crash would, and waits.
func (g *Guest) Kill() error { return g.signal(syscall.SIGKILL) }

func (g *Guest) signal(s os.Signal) error {
	if err := g.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-g.done
	return nil
}
