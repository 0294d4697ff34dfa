package lab

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// transferPort is where checked transfers are served.
const transferPort = "7000"

// A Station is something with an address that runs commands: a NS or a Guest.
type Station interface {
	Sh(ctx context.Context, command string) (output string, err error)
	agent() string
}

// listens waits until something at the station takes connections at the port.
func (l *Lab) listens(s Station, port string) {
	l.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		l.Fatalf("port %q: %v", port, err)
	}
	l.Until("port "+port+" is open", func() error {
		// State 0A is LISTEN.
		_, err := s.Sh(l.Context(), fmt.Sprintf("cat /proc/net/tcp /proc/net/tcp6 | grep -q ':%04X .* 0A '", number))
		return err
	})
}

// Reaches waits until one ping from the station to addr is answered.
func (l *Lab) Reaches(from Station, addr string) {
	l.Helper()
	l.Until("ping "+addr, func() error {
		out, err := from.Sh(l.Context(), "ping -c 1 -W 1 "+addr)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// NotReaches fails if any of three pings from the station to addr is answered. Ask
// it about an address that Reaches found alive from somewhere else.
func (l *Lab) NotReaches(from Station, addr string) {
	l.Helper()
	if out, err := from.Sh(l.Context(), "ping -c 3 -i 0.2 -W 1 "+addr); err == nil {
		l.Fatalf("ping %s: answered, want silence: %s", addr, out)
	}
}

// LosesNothing pings addr eighty times a second for four seconds; each is answered. (Up to
// 10 ms between two, ping spins.)
func (l *Lab) LosesNothing(from Station, addr string) {
	l.Helper()
	out, err := from.Sh(l.Context(), "ping -q -i 0.012 -c 320 -W 2 "+addr)
	if err != nil || !strings.Contains(out, "320 received, 0% packet loss") {
		l.Errorf("ping %s: %v: %s", addr, err, out)
	}
}

// Transfers exchanges size bytes, each way and checked by SHA-256, with the station
// that serves at addr.
func (l *Lab) Transfers(from Station, addr string, size int) {
	l.Helper()
	ctx, cancel := l.limited()
	defer cancel()
	out, err := from.Sh(ctx, fmt.Sprintf("%s transfer %s %d", from.agent(), net.JoinHostPort(addr, transferPort), size))
	if err != nil {
		l.Fatalf("transfer to %s: %v: %s", addr, err, out)
	}
}
