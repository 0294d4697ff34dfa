package route_test

import (
	"bytes"
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// propose gives a frame from the wire to the uplink's proxy, and returns the reason that
// it ended for.
func (r *rig) propose(p []byte) frame.Reason {
	r.t.Helper()
	b := r.bufs[0]
	b.SetBytes(p)
	b.In = wirePort
	r.Proxy(portU).Process(r.now, r.bufs)
	same(r.t, b.Bytes(), p) // what is taken is still learned from
	return b.Reason()
}

// asking returns the request of the provider's router for an address: to all, or to a
// station.
func (w family) asking(target netip.Addr, to frame.MAC) []byte {
	b := frame.NewBufs(1)[0]
	switch {
	case w.version == 6:
		b.MakeSolicitation(to, w.hop.MAC, w.hop.Addr, target)
	case to == 0:
		b.SetBytes(frametest.ARPRequest(w.hop, target))
	default:
		b.MakeARP(to, frame.ARPRequest, w.hop.MAC, w.hop.Addr, target)
	}
	return bytes.Clone(b.Bytes())
}

func TestProxyAnswers(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		for _, target := range []netip.Addr{w.external, w.guestB.Addr} {
			for _, to := range []frame.MAC{0, macU} {
				if why := r.propose(w.asking(target, to)); why != frame.Taken {
					t.Fatalf("%v: %v, want taken", target, why)
				}
				want := frametest.ARPReply(frametest.End{MAC: macU, Addr: target}, w.hop)
				if w.version == 6 {
					flags := frame.AdvertSolicited // RFC 4861 7.2.8: no override for others
					if target == w.external {
						flags |= frame.AdvertOverride
					}
					b := frame.NewBufs(1)[0]
					b.MakeAdvertisement(w.hop.MAC, macU, addr("fe80::c"), w.hop.Addr, flags, target)
					want = b.Bytes()
				}
				r.expectSent(sent{portU, want})
			}
		}
	})
}

func TestProxyOnlyWhereItIsSet(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) { v.Interfaces[2].Proxy = false })
		if why := r.propose(w.asking(w.guestB.Addr, 0)); why != 0 || len(r.injected()) != 0 {
			t.Errorf("%v for an owned address", why)
		}
		if why := r.propose(w.asking(w.external, 0)); why != frame.Taken || len(r.injected()) != 1 {
			t.Errorf("%v for an external address", why)
		}
	})
}

func TestProxyKeepsSilent(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		outsider, gone := addr("203.0.113.99"), addr("203.0.113.100")
		if w.version == 6 {
			outsider, gone = addr("2001:db8:b::99"), addr("2001:db8:b::100")
		}
		r := newRig(t, func(v *route.View) {
			v.Local = append(v.Local, gone)
			v.Routes = append(v.Routes, route.Route{Prefix: netip.PrefixFrom(outsider, outsider.BitLen()), Port: portU})
		})
		for name, target := range map[string]netip.Addr{
			"the host's own":          w.host,
			"the gateway's":           w.gatewayB,
			"the host's among owned":  gone,
			"a realm's guest":         w.guest.Addr,
			"behind, but not owned":   w.behind,
			"owned, but routed there": outsider,
			"a neighbor there":        w.hop.Addr,
			"anybody":                 w.remote.Addr,
		} {
			if why := r.propose(w.asking(target, 0)); why != 0 || len(r.injected()) != 0 {
				t.Errorf("%s: %v", name, why)
			}
		}
		for name, p := range map[string][]byte{
			"from us":          w.asking(w.external, 0),
			"tagged":           frametest.Tagged(w.asking(w.external, 0), frame.EtherTypeCTag, 1, 0),
			"cut short":        w.asking(w.external, 0)[:40],
			"another protocol": w.udp(at(w.external)),
			"very short":       w.udp(at(w.external))[:14],
		} {
			if name == "from us" {
				macU.Put(p[6:])
				if w.version == 4 {
					macU.Put(p[22:])
				} else {
					p = frame6(macU, w.external)
				}
			}
			if why := r.propose(p); why != 0 || len(r.injected()) != 0 {
				t.Errorf("%s: %v", name, why)
			}
		}
		r.full = true
		if why := r.propose(w.asking(w.external, 0)); why != 0 {
			t.Errorf("%v, but no answer was sent", why)
		}
		// The same at an inside interface, or at none.
		for _, at := range []frame.PortID{portA, portV} {
			b := r.bufs[0]
			b.SetBytes(w.asking(w.external, 0))
			r.Proxy(at).Process(r.now, r.bufs)
			r.expectDrop(b, 0)
		}
	})
}

// frame6 is a solicitation for an address from a station.
func frame6(mac frame.MAC, target netip.Addr) []byte {
	b := frame.NewBufs(1)[0]
	b.MakeSolicitation(0, mac, ipv6.hop.Addr, target)
	return bytes.Clone(b.Bytes())
}

// RFC 5227: who announces the address asks nothing; who probes for it must hear of us.
func TestProxyProbeAndAnnouncement(t *testing.T) {
	r := newRig(t)
	claimant := frametest.End{MAC: ipv4.hop.MAC, Addr: ipv4.external}
	if why := r.propose(frametest.ARPRequest(claimant, ipv4.external)); why != 0 || len(r.injected()) != 0 {
		t.Errorf("an announcement: %v", why)
	}
	prober := frametest.End{MAC: ipv4.hop.MAC, Addr: netip.IPv4Unspecified()}
	if why := r.propose(frametest.ARPRequest(prober, ipv4.external)); why != frame.Taken {
		t.Errorf("a probe: %v", why)
	}
	r.expectSent(sent{portU, frametest.ARPReply(frametest.End{MAC: macU, Addr: ipv4.external}, prober)})
	if why := r.propose(frametest.ARPReply(claimant, frametest.End{MAC: macU, Addr: ipv4.host})); why != 0 {
		t.Errorf("a reply: %v", why)
	}
}

// RFC 4862 5.4: to a solicitation from nobody, all nodes are told, and S is clear (RFC
// 4861 7.2.4).
func TestProxyDuplicateAddressDetection(t *testing.T) {
	r := newRig(t)
	b := frame.NewBufs(1)[0]
	b.MakeSolicitation(0, ipv6.hop.MAC, netip.IPv6Unspecified(), ipv6.external)
	if why := r.propose(withoutOption(bytes.Clone(b.Bytes()))); why != frame.Taken {
		t.Fatalf("%v, want taken", why)
	}
	b.MakeAdvertisement(0x3333_0000_0001, macU, addr("fe80::c"), frame.AllNodes, frame.AdvertOverride, ipv6.external)
	r.expectSent(sent{portU, bytes.Clone(b.Bytes())})
}

// A solicitation by unicast may leave the option out (RFC 4861 4.3).
func TestProxySolicitationWithoutOption(t *testing.T) {
	r := newRig(t)
	if why := r.propose(withoutOption(ipv6.asking(ipv6.external, macU))); why != frame.Taken {
		t.Fatalf("%v, want taken", why)
	}
	b := frame.NewBufs(1)[0]
	b.MakeAdvertisement(ipv6.hop.MAC, macU, addr("fe80::c"), ipv6.hop.Addr, frame.AdvertOverride|frame.AdvertSolicited, ipv6.external)
	r.expectSent(sent{portU, bytes.Clone(b.Bytes())})
	if why := r.propose(advert(ipv6.hop.MAC, 0, frame.AllNodes)); why != 0 {
		t.Errorf("an advertisement: %v", why)
	}
}

func TestListenerHearsGroupFramesOnly(t *testing.T) {
	r := newRig(t)
	p := frametest.ARPRequest(ipv4.guest, ipv4.gatewayA)
	ipv4.other.MAC.Put(p) // to another station
	for _, at := range []frame.PortID{portA, portU, portV} {
		b := r.bufs[0]
		b.SetBytes(p)
		b.In = guestPort
		r.Listener(at).Process(r.now, r.bufs)
	}
	if len(r.Neighbors(r.now)) != 0 {
		t.Error("heard what was for others")
	}
}
