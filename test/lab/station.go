package lab

import (
	"context"
	"fmt"
	"net"
)

// transferPort is where checked transfers are served.
const transferPort = ":7000"

// A Station is something with an address that runs commands: a NS or a Guest.
type Station interface {
	Sh(ctx context.Context, command string) (output string, err error)
	agent() string
}

// listens waits until the station's server takes transfers.
func (l *Lab) listens(s Station) {
	l.Helper()
	l.Until("agent serves", func() error {
		// State 0A is LISTEN, 1B58 is port 7000.
		_, err := s.Sh(l.Context(), "grep -q ':1B58 .* 0A ' /proc/net/tcp6")
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

// Transfers exchanges size bytes, each way and checked by SHA-256, with the station
// that serves at addr.
func (l *Lab) Transfers(from Station, addr string, size int) {
	l.Helper()
	ctx, cancel := l.limited()
	defer cancel()
	out, err := from.Sh(ctx, fmt.Sprintf("%s transfer %s %d", from.agent(), net.JoinHostPort(addr, transferPort[1:]), size))
	if err != nil {
		l.Fatalf("transfer to %s: %v: %s", addr, err, out)
	}
}
