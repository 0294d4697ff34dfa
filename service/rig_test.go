package service

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/goleak"

	"weft/frame"
	"weft/frame/frametest"
	"weft/service/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gatewayMAC = frame.MAC(0x0200_0000_0001)

var (
	gateway4  = netip.MustParseAddr("192.168.150.1")
	gateway6  = netip.MustParseAddr("fd5a:150::1")
	linkLocal = netip.MustParseAddr("fe80::1")
	guest     = frametest.Station(1).MAC
)

// all is a network that is served all there is but DNS, which wants real sockets.
func all() Settings {
	return Settings{
		MAC: gatewayMAC, LinkLocal: linkLocal, MTU: 1500, Outside: true,
		Subnets: []netip.Prefix{netip.PrefixFrom(gateway4, 24), netip.PrefixFrom(gateway6, 64)},
		DHCPv4:  true, DHCPv6: true, Advertise: true,
		Ranges: []lease.Range{{First: netip.MustParseAddr("192.168.150.100"), Last: netip.MustParseAddr("192.168.150.200")}},
		Quota:  8, Lease: time.Hour, Domain: "vm.internal",
	}
}

// A rig is a server in a test, and what it sends and reports.
type rig struct {
	*testing.T
	*Server
	sent chan []byte
	told chan Event
}

func newRig(t *testing.T, v Settings) *rig {
	t.Helper()
	r := &rig{T: t, sent: make(chan []byte, 1000), told: make(chan Event, 1000)}
	s, err := New(Config{
		Network: "default", State: t.TempDir(),
		Send:     func(p []byte) { r.sent <- p },
		PortName: func(id frame.PortID) string { return fmt.Sprintf("vm%d", id) },
		Report:   func(e Event) { r.told <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r.Server = s
	if err := s.Set(v); err != nil {
		t.Fatal(err)
	}
	return r
}

// serving runs test in a bubble, with a running server of settings v.
func serving(t *testing.T, v Settings, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, v)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Server.Run(ctx) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		test(r)
	})
}

// process has the server look at a frame that came in by a port, and returns what
// became of it.
func (r *rig) process(in frame.PortID, p []byte) frame.Reason {
	bufs := frame.NewBufs(1)
	bufs[0].SetBytes(p)
	bufs[0].In = in
	r.Process(0, bufs)
	return bufs[0].Reason()
}

// next returns the next frame that the server sends, and fails the test if none comes
// within a time.
func (r *rig) next(within time.Duration) []byte {
	r.Helper()
	select {
	case p := <-r.sent:
		return p
	case <-time.After(within + 1): // not at the same time
		r.Fatalf("nothing was sent within %v", within)
		return nil
	}
}

// quiet fails the test if something is sent within a time.
func (r *rig) quiet(within time.Duration) {
	r.Helper()
	select {
	case p := <-r.sent:
		r.Fatalf("sent within %v: %x", within, p)
	case <-time.After(within):
	}
}

// event returns the next event.
func (r *rig) event() Event {
	r.Helper()
	select {
	case e := <-r.told:
		return e
	case <-time.After(time.Second):
		r.Fatal("no event")
		return Event{}
	}
}

// client returns the end of a DHCPv4 client without an address, and where it sends to.
func client(mac frame.MAC) (from, to frametest.End) {
	return frametest.End{MAC: mac, Addr: netip.IPv4Unspecified(), Port: 68},
		frametest.End{MAC: frame.Broadcast, Addr: netip.AddrFrom4([4]byte{255, 255, 255, 255}), Port: 67}
}

// discover returns the frame of a DHCPDISCOVER.
func discover(mac frame.MAC, options ...dhcpv4.Modifier) []byte {
	hw := make([]byte, 6)
	mac.Put(hw)
	m, err := dhcpv4.NewDiscovery(hw, options...)
	if err != nil {
		panic(err)
	}
	from, to := client(mac)
	return frametest.UDP(from, to, m.ToBytes())
}

// reply4 reads the DHCPv4 message in a frame of the gateway's.
func (r *rig) reply4(p []byte) *dhcpv4.DHCPv4 {
	r.Helper()
	d, ok := parseDatagram(p)
	if !ok || d.mac != gatewayMAC || d.from != gateway4 {
		r.Fatalf("%+v, %v", d, ok)
	}
	m, err := dhcpv4.FromBytes(d.payload)
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// obtain has a guest at a port get an address by DHCPv4, and returns it.
func (r *rig) obtain(in frame.PortID, mac frame.MAC, options ...dhcpv4.Modifier) netip.Addr {
	r.Helper()
	if got := r.process(in, discover(mac, options...)); got != frame.Taken {
		r.Fatalf("DHCPDISCOVER: %v", got)
	}
	offer := r.reply4(r.next(time.Second))
	m, err := dhcpv4.NewRequestFromOffer(offer, options...)
	if err != nil {
		r.Fatal(err)
	}
	from, to := client(mac)
	if got := r.process(in, frametest.UDP(from, to, m.ToBytes())); got != frame.Taken {
		r.Fatalf("DHCPREQUEST: %v", got)
	}
	ack := r.reply4(r.next(time.Second))
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		r.Fatal(ack.Summary())
	}
	a, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	return a
}
