package fastpath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// A host is the stack of the test's namespace behind a TAP.
type host struct {
	*device
	frametest.End
}

// newHost gives a TAP an address, and a neighbor.
func newHost(t testing.TB, name string, neighbor frametest.End) host {
	t.Helper()
	d := newTAP(t, name)
	l, err := netlink.LinkByName(name)
	must(t, err)
	a, err := netlink.ParseAddr("198.51.100.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(l, a))
	hw := make(net.HardwareAddr, 6)
	neighbor.MAC.Put(hw)
	must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: d.index, State: netlink.NUD_PERMANENT, IP: neighbor.Addr.AsSlice(), HardwareAddr: hw}))
	return host{d, frametest.End{MAC: frame.MACFrom(l.Attrs().HardwareAddr), Addr: netip.MustParseAddr("198.51.100.1"), Port: 7}}
}

// listen opens a UDP socket at the host's address.
func (h host) listen(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Port: int(h.Port), Addr: h.Addr.As4()}))
	return fd
}

func heardBy(fd int) bool {
	var p [2048]byte
	n, _, err := unix.Recvfrom(fd, p[:], 0)
	return err == nil && n >= 0
}

// The host's stack behind a TAP of the switch's gets frames as from a wire, and what it
// sends goes to others directly.
func TestHostTAP(t *testing.T) {
	r := newRig(t, Config{})
	guest := frametest.End{MAC: 0x5254_0000_0001, Addr: netip.MustParseAddr("198.51.100.2"), Port: 1001}
	h := newHost(t, "h", guest)
	socket := h.listen(t)
	must(t, unix.SetsockoptInt(socket, unix.IPPROTO_IP, unix.IP_RECVERR, 1)) // to hear of losses on the way out
	_, out := r.Programs()
	attach(t, h.index, out, ebpf.AttachTCXEgress)
	const portH = 3
	must(t, r.SetPort(portH, Port{Index: h.index, Queue: h.index, Side: HostTAP}))

	in := bridged(t, frametest.UDP(guest, h.End, nil))
	in.Out = portH
	r.learn(in)
	r.a.write(t, frametest.UDP(guest, h.End, frametest.Payload(10)), frame.Offload{})
	if !heardBy(socket) {
		t.Error("the host received nothing")
	}
	h.silent(t, "what is for the host")

	reply := frametest.UDP(h.End, guest, nil)
	back := bridged(t, reply)
	back.In, back.Out = portH, portA
	r.remember(back)
	speak := func(what string, port uint16, direct bool) {
		t.Helper()
		must(t, unix.Sendto(socket, []byte("reply"), 0, &unix.SockaddrInet4{Port: int(port), Addr: guest.Addr.As4()}))
		queued, _ := h.read(t)
		if p, _ := r.a.read(t); (p != nil) != direct || (queued == nil) != direct {
			t.Errorf("%s: directly %x, to the switch %x", what, p, queued)
		}
	}
	drain := func(want uint64) {
		t.Helper()
		n, _ := r.Arrived(portH)
		if n != want {
			t.Errorf("%d arrived, want %d", n, want)
		}
		r.Drained(portH, n)
	}
	speak("the first", guest.Port, false)
	drain(1)
	speak("the second", guest.Port, true)
	const dhcp = 68
	speak("what the switch must see", dhcp, false)
	speak("what comes behind it", guest.Port, true) // the host waits for nobody
}

// Both sides of a NIC: its wire and the host's stack.
func TestUplink(t *testing.T) {
	r := newRig(t, Config{})
	guest := frametest.End{MAC: 0x5254_0000_0001, Addr: netip.MustParseAddr("198.51.100.2"), Port: 1001}
	outside := frametest.Station(9)
	nic := newHost(t, "nic", guest)
	socket := nic.listen(t)
	in, out := r.Programs()
	attach(t, nic.index, in, ebpf.AttachTCXIngress)
	attach(t, nic.index, out, ebpf.AttachTCXEgress)
	const wire, side = 3, 4
	must(t, r.SetPort(wire, Port{Index: nic.index, Queue: r.queue.index, Side: Wire}))
	must(t, r.SetPort(side, Port{Index: nic.index, Queue: r.queue.index, Side: HostSide}))
	learn := func(from, to frame.PortID, p []byte) {
		d := bridged(t, p)
		d.In, d.Out = from, to
		r.learn(d)
	}
	toHost, toGuest := frametest.UDP(guest, nic.End, nil), frametest.UDP(nic.End, guest, nil)
	toWire, fromWire := frametest.UDP(guest, outside, nil), frametest.UDP(outside, guest, nil)
	learn(portA, side, toHost)
	learn(side, portA, toGuest)
	learn(portA, wire, toWire)
	learn(wire, portA, fromWire)

	r.a.write(t, toHost, frame.Offload{})
	if !heardBy(socket) {
		t.Error("the host did not hear the guest")
	}
	nic.silent(t, "from the guest to the host")
	must(t, unix.Sendto(socket, nil, 0, &unix.SockaddrInet4{Port: int(guest.Port), Addr: guest.Addr.As4()}))
	if p, _ := r.a.read(t); p == nil {
		t.Error("the guest did not hear the host")
	}
	nic.silent(t, "from the host to the guest")
	r.a.write(t, toWire, frame.Offload{})
	if p, _ := nic.read(t); p == nil {
		t.Error("the wire did not hear the guest")
	}
	nic.write(t, fromWire, frame.Offload{})
	if p, _ := r.a.read(t); p == nil {
		t.Error("the guest did not hear the wire")
	}
	r.queue.silent(t, "all this")
}

// Of a session that uses the host's address the host's own sockets win, at any time.
func TestSocketsWin(t *testing.T) {
	r := newRig(t, Config{})
	outside := frametest.End{MAC: 0x5254_0000_0009, Addr: netip.MustParseAddr("198.51.100.9"), Port: 443}
	guest := frametest.Station(1)
	nic := newHost(t, "nic", outside)
	in, _ := r.Programs()
	attach(t, nic.index, in, ebpf.AttachTCXIngress)
	const wire = 3
	must(t, r.SetPort(wire, Port{Index: nic.index, Queue: r.queue.index, Side: Wire, Shared: true}))
	p := frametest.UDP(outside, nic.End, nil)
	d := routed(t, p, hop(frametest.UDP(frametest.End{MAC: 2, Addr: outside.Addr, Port: outside.Port}, guest, nil)))
	d.In, d.Out, d.Session, d.Outside = wire, portA, 1, true
	r.learn(d)
	goes := func() bool {
		nic.write(t, p, frame.Offload{})
		got, _ := r.a.read(t)
		return got != nil
	}
	if !goes() {
		t.Error("not forwarded, although the host has no such socket")
	}
	socket := nic.listen(t)
	if goes() || !heardBy(socket) {
		t.Error("the host's socket heard nothing")
	}
	must(t, unix.Close(socket))
	if !goes() {
		t.Error("not forwarded, although the host has the socket no more")
	}
	nic.listen(t)
	d.Forward = true
	r.learn(d)
	if !goes() {
		t.Error("a forward did not win over the socket")
	}
}

// The host gets the answer to its own echo request, also when a session uses the same
// identifier towards the same station.
func TestEchoYields(t *testing.T) {
	r := newRig(t, Config{})
	outside := frametest.End{MAC: 0x5254_0000_0009, Addr: netip.MustParseAddr("198.51.100.9")}
	guest := frametest.Station(1)
	nic := newHost(t, "nic", outside)
	in, out := r.Programs()
	attach(t, nic.index, in, ebpf.AttachTCXIngress)
	attach(t, nic.index, out, ebpf.AttachTCXEgress)
	const wire = 3
	must(t, r.SetPort(wire, Port{Index: nic.index, Queue: r.queue.index, Side: Wire, Shared: true}))
	answer := func(to frametest.End, id uint16) []byte {
		return changed(frametest.Ping(outside, to, id, 1), func(p []byte) {
			p[frame.EthernetLen+20] = 0 // echo reply
			h := p[frame.EthernetLen+20:]
			binary.BigEndian.PutUint16(h[2:], frame.UpdateChecksum(binary.BigEndian.Uint16(h[2:]), 8<<8, 0))
		})
	}
	d := routed(t, answer(nic.End, 5), hop(answer(guest, 1)))
	d.In, d.Out, d.Session, d.Outside = wire, portA, 1, true
	r.learn(d)
	goes := func() bool {
		nic.write(t, answer(nic.End, 5), frame.Offload{})
		got, _ := r.a.read(t)
		return got != nil
	}
	ask := func(id uint16) {
		t.Helper()
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.Sendto(fd, frametest.Ping(nic.End, outside, id, 1), 0, &unix.SockaddrLinklayer{Ifindex: nic.index}))
		if p, _ := nic.read(t); p == nil {
			t.Error("the host's request did not leave")
		}
	}
	if !goes() {
		t.Error("not forwarded, although the host asked nothing")
	}
	ask(6)
	if !goes() {
		t.Error("not forwarded, although the host asked with another identifier")
	}
	ask(5)
	if goes() {
		t.Error("the host asked with that identifier, and the guest got the answer alone")
	}
}

// A far is the other end of a veth, in another namespace.
type far struct {
	fd   int
	room [2048]byte
}

// newVeth returns the index of the near end.
func newVeth(t testing.TB) (near int, other *far) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	there, err := netns.New()
	must(t, err)
	t.Cleanup(func() { there.Close() })
	must(t, netns.Set(here))
	at := netlink.NewLinkAttrs()
	at.Name = "veth"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: at, PeerName: "far", PeerNamespace: netlink.NsFd(there)}))
	near = setUp(t, "veth").Attrs().Index
	must(t, netns.Set(there))
	defer func() { must(t, netns.Set(here)) }()
	const ipv4 = 0x0008 // in the order of the network
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, ipv4)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: setUp(t, "far").Attrs().Index}))
	return near, &far{fd: fd}
}

// read returns what has arrived, or nil.
func (f *far) read() []byte {
	n, _, err := unix.Recvfrom(f.fd, f.room[:], 0)
	if err != nil {
		return nil
	}
	return slices.Clone(f.room[:n])
}

// A veth's peer in another namespace is reached past what is on the veth.
func TestPeer(t *testing.T) {
	for _, peer := range []bool{false, true} {
		r := newRig(t, Config{})
		veth, far := newVeth(t)
		attach(t, veth, assemble(t, "drop", asm.Mov.Imm(asm.R0, verdictDrop), asm.Return()), ebpf.AttachTCXEgress)
		must(t, r.SetPort(portB, Port{Index: veth, Queue: r.queue.index, Peer: peer}))
		r.learn(bridged(t, plainFrame))
		r.a.write(t, plainFrame, frame.Offload{})
		if got := far.read(); (got != nil) != peer {
			t.Errorf("peer %t: %x arrived past a program that drops all", peer, got)
		} else if peer {
			frametest.Equal(t, got, plainFrame)
		}
	}
}
