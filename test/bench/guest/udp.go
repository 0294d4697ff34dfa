package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Reflect sends every datagram to addr back to where it came from. It calls ready when
// it can and returns only on failure.
func Reflect(addr netip.AddrPort, ready func()) error {
	fd, err := open(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // the process ends
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	ready()
	var buf [64]byte
	for {
		n, from, err := unix.Recvfrom(fd, buf[:], 0)
		if err == nil {
			err = unix.Sendto(fd, buf[:n], 0, from)
		}
		if err != nil {
			return fmt.Errorf("reflect: %w", err)
		}
	}
}

// FirstTrips is what Explore tells: medians over all flows, in ns.
type FirstTrips struct {
	Frames               uint64        // both ways
	First, Second, Later time.Duration // round trips of a flow
	ToSecond, ToLater    time.Duration // how much longer the first took
}

const (
	newFlows  = 1000
	firstPort = 20000 // of the flows, which no port comes twice in
	laterTrip = 10    // of a flow: the one that is called later
)

// Explore exchanges datagrams with the reflector at addr, laterTrip in each of
// newFlows flows, and times them.
func Explore(addr netip.AddrPort) (FirstTrips, error) {
	var first, second, later, toSecond, toLater []time.Duration
	for i := range newFlows {
		trips, err := explore(addr, firstPort+i)
		if err != nil {
			return FirstTrips{}, fmt.Errorf("flow %d to %s: %w", i+1, addr, err)
		}
		a, b, c := trips[0], trips[1], trips[laterTrip-1]
		first, second, later = append(first, a), append(second, b), append(later, c)
		toSecond, toLater = append(toSecond, a-b), append(toLater, a-c)
	}
	return FirstTrips{
		Frames: 2 * newFlows * laterTrip,
		First:  middle(first), Second: middle(second), Later: middle(later),
		ToSecond: middle(toSecond), ToLater: middle(toLater),
	}, nil
}

// explore times the round trips of one flow.
func explore(addr netip.AddrPort, local int) (trips [laterTrip]time.Duration, err error) {
	fd, err := open(unix.SOCK_DGRAM)
	if err != nil {
		return trips, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: local}), unix.Connect(fd, sockaddr(addr))); err != nil {
		return trips, err
	}
	var buf [32]byte // a frame that no wire has to pad
	for i := range trips {
		start := time.Now()
		_, errSend := unix.Write(fd, buf[:])
		_, errReceive := unix.Read(fd, buf[:])
		trips[i] = time.Since(start)
		if err := errors.Join(errSend, errReceive); err != nil {
			return trips, err
		}
	}
	return trips, nil
}

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
