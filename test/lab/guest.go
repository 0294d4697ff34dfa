package lab

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"weft/test/guest"
)

// Nobody is a user without rights, to run QEMU as.
const Nobody = 65534

// A Guest is a real virtual machine of a lab.
type Guest struct {
	*guest.Guest
	lab    *Lab
	config guest.Config
	log    *syncBuffer
}

// Boot starts a guest whose TAPs are in namespace n. QEMU runs as the user uid.
func (n *NS) Boot(name string, uid int, nics ...guest.NIC) *Guest {
	n.lab.Helper()
	g := &Guest{lab: n.lab, log: &syncBuffer{}}
	g.config = guest.Config{Name: name, NICs: nics, UID: uid, Log: g.log, Start: n.Start}
	n.lab.Cleanup(func() {
		if g.Guest != nil {
			_ = g.Kill()
		}
		if n.lab.Failed() {
			n.lab.Logf("guest %s:\n%s", name, g.log.tail())
		}
	})
	g.Reboot()
	return g
}

// Reboot starts the guest again after Stop or Kill.
func (g *Guest) Reboot() {
	g.lab.Helper()
	img, err := guest.Build()
	if err != nil {
		g.lab.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(g.lab.Context(), 3*patience)
	defer cancel()
	if g.Guest, err = guest.Boot(ctx, img, g.config); err != nil {
		g.lab.Fatalf("%v", err)
	}
}

// Together calls fs at once and waits for all: several guests boot as fast as one.
func (l *Lab) Together(fs ...func()) {
	l.Helper()
	var all sync.WaitGroup
	for _, f := range fs {
		all.Go(f)
	}
	all.Wait()
	if l.Failed() { // a Fatalf ends its own goroutine only
		l.Fatalf("not all of it worked")
	}
}

// Sh runs a shell command in the guest.
func (g *Guest) Sh(ctx context.Context, command string) (string, error) {
	return g.Guest.Run(ctx, command)
}

// Run runs a shell command in the guest, which must succeed.
func (g *Guest) Run(format string, args ...any) string {
	g.lab.Helper()
	command := fmt.Sprintf(format, args...)
	ctx, cancel := g.lab.limited()
	defer cancel()
	out, err := g.Sh(ctx, command)
	if err != nil {
		g.lab.Fatalf("guest %s: %s: %v: %s", g.config.Name, command, err, out)
	}
	return out
}

// Addresses gives the guest's device addresses (of either family) and sets it up.
func (g *Guest) Addresses(dev string, addrs ...string) {
	g.lab.Helper()
	for _, a := range addrs {
		g.Run("ip addr add %s dev %s", a, dev)
	}
	g.Run("ip link set %s up", dev)
}

// Configure has the guest get addresses, routes and resolvers for a device by itself, as
// one does on which nothing is configured.
func (g *Guest) Configure(dev string) {
	g.lab.Helper()
	g.Run("ifup %s", dev)
	g.lab.configured(g, dev)
}

// Serve starts the server end of checked transfers.
func (g *Guest) Serve() {
	g.lab.Helper()
	if _, err := g.Start(g.agent() + " serve :" + transferPort); err != nil {
		g.lab.Fatalf("%v", err)
	}
	g.lab.listens(g, transferPort)
}

func (g *Guest) agent() string { return "/bin/agent" }

// A syncBuffer is a log that processes write to and the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// tail returns the last lines.
func (s *syncBuffer) tail() string {
	lines := strings.SplitAfter(s.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-200):], "")
}
