package route_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// tagged returns the frame with VLAN tags of identifier 0, which hosts take off.
func tagged(p []byte, n int) []byte {
	for range n {
		p = slices.Insert(bytes.Clone(p), 12, 0x81, 0, 0, 0)
	}
	return p
}

// The host's stack is not led to answer outside, to somebody who did not ask: what is left
// to it is from a station of the link, however it comes.
func TestHostIsLeftStationsOfTheLinkOnly(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		group, link, nobody := addr("224.0.0.1"), addr("169.254.0.9"), netip.IPv4Unspecified()
		if w.guest.Addr.Is6() {
			group, link, nobody = frame.AllNodes, addr("fe80::9"), netip.IPv6Unspecified()
		}
		gateway := frametest.End{MAC: macA, Addr: w.gatewayA, Port: 53}
		for name, c := range map[string]struct {
			src, dst netip.Addr
			tags     int
			why      frame.Reason
		}{
			"a group, from a guest":           {w.guest.Addr, group, 0, 0},
			"a group, from a link":            {link, group, 0, 0},
			"a group, from nobody yet":        {nobody, group, 0, 0},
			"a group, from outside":           {w.remote.Addr, group, 0, frame.DropMartian},
			"a group, from another network":   {w.guestB.Addr, group, 0, frame.DropMartian},
			"a group, from the gateway":       {w.gatewayA, group, 0, frame.DropMartian},
			"a link, from outside":            {w.remote.Addr, link, 0, frame.DropMartian},
			"tagged, from a guest":            {w.guest.Addr, w.gatewayA, 1, 0},
			"tagged, from outside":            {w.remote.Addr, w.gatewayA, 1, frame.DropMartian},
			"tagged, from another network":    {w.guestB.Addr, w.gatewayA, 2, frame.DropMartian},
			"tagged three times, from anyone": {w.guest.Addr, w.gatewayA, 3, frame.DropBadPacket},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t).meet()
				from, to := w.guest, gateway
				from.Addr, to.Addr = c.src, c.dst
				p := tagged(frametest.UDP(from, to, nil), c.tags)
				if b := r.route(guestPort, p); c.why != 0 {
					r.expectDrop(b, c.why)
				} else {
					r.expectLeft(b, p)
				}
			})
		}
	})
}

// A guest that takes on one address after the other fills no table of the host's, neither
// by asking for the gateway nor by speaking to it, in a frame of its own or for all.
func TestStationsOfOnePortAreLimited(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		b := frame.NewBufs(1)[0]
		for name, frameOf := range map[string]func(who frametest.End) []byte{
			"asking": func(who frametest.End) []byte {
				if who.Addr.Is4() {
					return frametest.ARPRequest(who, w.gatewayA)
				}
				b.MakeSolicitation(0, who.MAC, who.Addr, w.gatewayA)
				return bytes.Clone(b.Bytes())
			},
			"speaking": func(who frametest.End) []byte {
				return frametest.UDP(who, frametest.End{MAC: macA, Addr: w.gatewayA, Port: 53}, nil)
			},
			"speaking to all": func(who frametest.End) []byte {
				return frametest.UDP(who, frametest.End{MAC: frame.Broadcast, Addr: w.gatewayA, Port: 53}, nil)
			},
			"with a tag": func(who frametest.End) []byte {
				return tagged(frametest.UDP(who, frametest.End{MAC: macA, Addr: w.gatewayA, Port: 53}, nil), 1)
			},
			"to all, tagged": func(who frametest.End) []byte {
				return tagged(frametest.UDP(who, frametest.End{MAC: frame.Broadcast, Addr: w.gatewayA, Port: 53}, nil), 1)
			},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				r.view.Interfaces[0].Addresses = []netip.Prefix{prefix("192.168.1.1/16"), prefix("fd00:a::1/64"), prefix("fe80::1/64")}
				r.set()
				who, most := w.guest, 256
				who.Addr = addr("192.168.7.1")
				if w.guest.Addr.Is6() {
					who.Addr = addr("fd00:a::7:1")
				}
				for range most {
					r.listen(guestPort, frameOf(who))
					who.Addr = who.Addr.Next()
				}
				r.listen(guestPort, frameOf(who), frame.DropNeighborQueue)
				r.listen(otherPort, frameOf(who))
			})
		}
	})
}

// What the router sends by itself is on the account of the port that made it do so: of
// room for that each has a share.
func TestInjectedHasACause(t *testing.T) {
	r := newRig(t, narrow(576)).meet()
	want := func(what string, cause frame.PortID) {
		t.Helper()
		if len(r.injected()) == 0 || r.cause != cause {
			t.Errorf("%s: on the account of port %d, want %d", what, r.cause, cause)
		}
	}
	big := ipv4.guestB
	big.MAC = macA
	p := clearDF(frametest.UDP(ipv4.guest, big, make([]byte, 1200)))
	r.route(guestPort, p)
	want("fragments", guestPort)

	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	b.Offload = frame.Offload{GSO: frame.GSOUDP, NeedsCsum: true, SegSize: 700, CsumStart: 34, CsumOffset: 6, HdrLen: 42}
	r.routeBuf(guestPort, b)
	want("fragments of a superframe", guestPort)

	r.route(otherPort, setHops(ipv4.udp(big), 1))
	want("an error", otherPort)

	big.Addr = addr("203.0.113.99")
	r.route(otherPort, ipv4.udp(big))
	want("a request", otherPort)

	r.bufs[0].SetBytes(frametest.ARPRequest(ipv4.hop, addr("203.0.113.70")))
	r.bufs[0].In = wirePort
	r.Proxy(portU).Process(r.now, r.bufs)
	want("an answer by proxy", wirePort)
}

// A guest does not get the traffic of another by claiming its address, while that answers.
// One that is gone loses it.
func TestClaimFromAnotherPort(t *testing.T) {
	r := newRig(t).meet()
	thief := ipv4.guest
	thief.MAC += 0x100
	claim := frametest.ARPReply(thief, frametest.End{MAC: macA, Addr: ipv4.gatewayA})
	for range 3 {
		r.now += 2 * time.Second
		r.route(otherPort, claim)
		r.expectNeighbor(portA, ipv4.guest.Addr, ipv4.guest.MAC, "probe")
		if s := r.injected(); len(s) != 1 || frame.Ethernet(s[0].frame).Dst() != ipv4.guest.MAC {
			t.Fatalf("sent %d frames, want a request to the guest", len(s))
		}
		r.route(otherPort, claim) // it is asked once
		r.listen(guestPort, frametest.ARPReply(ipv4.guest, frametest.End{MAC: macA, Addr: ipv4.gatewayA}))
		r.expectNeighbor(portA, ipv4.guest.Addr, ipv4.guest.MAC, "reachable")
	}
	r.now += 2 * time.Second
	r.route(otherPort, claim)
	r.tick(4 * time.Second)
	r.injected()
	if n := r.neighbor(portA, ipv4.guest.Addr); n.MAC != 0 {
		t.Errorf("it is still %v who does not answer", n.MAC)
	}
	r.hear(otherPort, thief, ipv4.gatewayA)
	r.expectNeighbor(portA, ipv4.guest.Addr, thief.MAC, "reachable")
}
