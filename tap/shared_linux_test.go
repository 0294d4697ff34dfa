package tap

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/frame"
)

const innerMAC = "02:00:00:00:00:40"

// A shared is a lab whose host shares its address: behind the switch is a place that has
// the same one, and what is claimed goes there and comes from there. So a test sees who
// got what without any translation.
//
//	wire (eth0) ── nic0 [host 10.7.0.10] i0 ── (eth0) inner, 10.7.0.10 too
type shared struct {
	lab
	host, inner place
	uplink      *Uplink
	claims      *Claims
	relay       *relay
}

// newShared attaches everything and starts the relay. If the NIC is bridged, the guest
// of the lab is on its segment.
func newShared(t *testing.T, bridged bool) *shared {
	t.Helper()
	s := &shared{lab: newLab(t), inner: newPlace(t), relay: &relay{}}
	newVeth(t, "i0", s.inner, "eth0", "10.7.0.10/24", "fd07::10/64")
	run(t, &s.inner, "ip", "link", "set", "dev", "eth0", "address", innerMAC)
	for _, far := range []string{"10.7.0.20", "fd07::20"} { // the switch relays it no group frames
		run(t, &s.inner, "ip", "neigh", "add", far, "lladdr", wireMAC, "dev", "eth0")
	}
	var err error
	s.host, err = openPlace("")
	must(t, err)
	t.Cleanup(s.host.close)
	s.claims, err = NewClaims(1000)
	must(t, err)
	s.uplink, err = AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: bridged, Claims: s.claims})
	must(t, err)
	inner, err := AttachDevice("i0", 1500)
	must(t, err)
	guest, err := AttachDevice("g0", 1500)
	must(t, err)
	ports := s.ports(s.uplink, guest)
	ports[0].route = map[frame.MAC]*Queue{mac(hostMAC): inner.Queues()[0]}
	ports[0].rewrite = func(b *frame.Buf) { mac(innerMAC).Put(b.Bytes()) }
	ports = append(ports, port{
		queue: inner.Queues()[0], route: map[frame.MAC]*Queue{mac(wireMAC): s.uplink.Wire()[0]},
		rewrite: func(b *frame.Buf) { mac(hostMAC).Put(b.Bytes()[6:]) }, alone: true,
	})
	stop := s.relay.start(t, ports...)
	t.Cleanup(func() {
		stop()
		must(t, errors.Join(s.uplink.Close(), inner.Close(), guest.Close(), s.claims.Close()))
	})
	if bridged {
		must(t, s.uplink.SetGuest(mac(guestMAC), true))
	}
	return s
}

func mac(s string) frame.MAC {
	m, err := frame.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func (s *shared) claim(t *testing.T, k ClaimKind, p frame.Protocol, port int, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		must(t, s.claims.Claim(p, netip.AddrPortFrom(netip.MustParseAddr(a), uint16(port)), k))
	}
}

var hostAddresses = []string{"10.7.0.10", "fd07::10"}

// serve sends 4 MiB to each who connects there, and returns them.
func serve(t *testing.T, at place, port int) []byte {
	t.Helper()
	p := make([]byte, 4<<20)
	_, _ = rand.Read(p)
	l := listenThere(t, at, "tcp", ":"+strconv.Itoa(port))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(p)
			c.Close()
		}
	}()
	return p
}

// fetch reads all that a server says.
func fetch(t *testing.T, from place, address string, port int) []byte {
	t.Helper()
	var got []byte
	must(t, from.do(func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(address, strconv.Itoa(port)), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		got, err = io.ReadAll(c)
		return err
	}))
	return got
}

// sendUDP sends one datagram from an ephemeral port.
func sendUDP(t *testing.T, from place, to string, size int) {
	t.Helper()
	must(t, from.do(func() error {
		c, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(make([]byte, size))
		return err
	}))
}

func receiveUDP(t *testing.T, u net.PacketConn) int {
	t.Helper()
	must(t, u.SetReadDeadline(time.Now().Add(patience)))
	n, _, err := u.ReadFrom(make([]byte, 1<<16))
	must(t, err)
	return n
}

// snmp reads a counter of the host's stack.
func snmp(t *testing.T, name string) int {
	t.Helper()
	for _, file := range []string{"/proc/thread-self/net/snmp6", "/proc/thread-self/net/snmp"} {
		p, err := os.ReadFile(file)
		must(t, err)
		if m := regexp.MustCompile(`(?m)^` + name + `\s+(\d+)$`).FindSubmatch(p); m != nil {
			n, err := strconv.Atoi(string(m[1]))
			must(t, err)
			return n
		}
		group, field, _ := strings.Cut(name, ":")
		if lines := regexp.MustCompile(`(?m)^`+group+`: (.*)$`).FindAllSubmatch(p, 2); len(lines) == 2 {
			for i, f := range strings.Fields(string(lines[0][1])) {
				if f == field {
					n, err := strconv.Atoi(strings.Fields(string(lines[1][1]))[i])
					must(t, err)
					return n
				}
			}
		}
	}
	t.Fatalf("the kernel counts no %s", name)
	return 0
}
