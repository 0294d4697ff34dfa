package route_test

import (
	"net/netip"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// RFC 826: entries are updated before what the packet wants is looked at; RFC 5227:
// a probe tells nothing.
func TestARPUpdates(t *testing.T) {
	moved := ipv4.guest
	moved.MAC += 0x100
	for name, c := range map[string]struct {
		p    []byte
		want bool         // the entry follows
		why  frame.Reason // the host's stack is not to see it
	}{
		"gratuitous request": {frametest.ARPRequest(moved, moved.Addr), true, 0},
		"gratuitous reply":   {frametest.ARPReply(moved, towards(moved, frame.Broadcast)), true, 0},
		"request for us":     {frametest.ARPRequest(moved, ipv4.gatewayA), true, 0},
		"request for others": {frametest.ARPRequest(moved, ipv4.other.Addr), true, 0},
		"reply to us":        {frametest.ARPReply(moved, frametest.End{MAC: macA, Addr: ipv4.gatewayA}), true, 0},
		"probe":              {frametest.ARPRequest(towards(at(netip.IPv4Unspecified()), moved.MAC), moved.Addr), false, 0},
		"from a group":       {frametest.ARPRequest(towards(ipv4.guest, frame.Broadcast), ipv4.gatewayA), false, frame.DropMartian},
		"from nobody":        {frametest.ARPRequest(towards(ipv4.guest, 0), ipv4.gatewayA), false, frame.DropMartian},
		"cut short":          {frametest.ARPRequest(moved, moved.Addr)[:40], false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).meet()
			r.now += 2 * time.Second
			r.listen(guestPort, c.p, c.why)
			want := ipv4.guest.MAC
			if c.want {
				want = moved.MAC
			}
			r.expectNeighbor(portA, ipv4.guest.Addr, want, "reachable")
		})
	}
}

// listen gives a frame to what hears it: the router if it is for its MAC, else the
// listener. It may end for a reason.
func (r *rig) listen(port frame.PortID, p []byte, why ...frame.Reason) {
	r.t.Helper()
	b := r.bufs[0]
	b.SetBytes(p)
	b.In, b.Out = port, interfaceOf(port)
	if frame.Ethernet(p).Dst() == macOf(port) {
		r.Route(r.now, r.bufs)
	} else {
		r.Listener(interfaceOf(port)).Process(r.now, r.bufs)
	}
	if b.Reason() != append(why, 0)[0] || len(r.injected()) != 0 {
		r.t.Errorf("reason %v, want %v, or something was sent", b.Reason(), why)
	}
}

// Who is not known is remembered only if we are going to answer it. Who is not on the link
// is not answered: the host's stack would remember him.
func TestARPCreates(t *testing.T) {
	stranger := frametest.End{MAC: 0x5254_0000_0099, Addr: addr("192.168.1.99")}
	foreigner := stranger
	foreigner.Addr = addr("10.99.0.77")
	for name, c := range map[string]struct {
		p    []byte
		who  frametest.End
		want frame.MAC
		why  frame.Reason
	}{
		"request for us":          {frametest.ARPRequest(stranger, ipv4.gatewayA), stranger, stranger.MAC, 0},
		"request for others":      {frametest.ARPRequest(stranger, ipv4.other.Addr), stranger, 0, 0},
		"gratuitous":              {frametest.ARPRequest(stranger, stranger.Addr), stranger, 0, 0},
		"reply nobody asked for":  {frametest.ARPReply(stranger, frametest.End{MAC: macA, Addr: ipv4.gatewayA}), stranger, 0, 0},
		"from a foreign subnet":   {frametest.ARPRequest(foreigner, ipv4.gatewayA), foreigner, 0, frame.DropMartian},
		"from our own address":    {frametest.ARPRequest(towards(at(ipv4.gatewayA), stranger.MAC), ipv4.gatewayA), at(ipv4.gatewayA), 0, frame.DropMartian},
		"from all of the subnet":  {frametest.ARPRequest(towards(at(addr("192.168.1.255")), stranger.MAC), ipv4.gatewayA), at(addr("192.168.1.255")), 0, frame.DropMartian},
		"from the other's subnet": {frametest.ARPRequest(towards(ipv4.guestB, stranger.MAC), ipv4.gatewayA), ipv4.guestB, 0, frame.DropMartian},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.listen(guestPort, c.p, c.why)
			if n := r.neighbor(portA, c.who.Addr); n.MAC != c.want || c.want == 0 && n.State != "" {
				t.Errorf("%v, %q; want %v", n.MAC, n.State, c.want)
			}
		})
	}
	r := newRig(t)
	r.listen(wirePort, frametest.ARPRequest(ipv4.hop, ipv4.host))
	b := frametest.ARPRequest(towards(ipv4.hop, ipv4.hop.MAC), ipv4.host)
	macU.Put(b)
	r.listen(wirePort, b)
	if len(r.Neighbors(r.now)) != 0 {
		t.Error("the router learns at an uplink, whose neighbors are the kernel's")
	}
}
