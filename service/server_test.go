package service

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/mdlayher/ndp"

	"weft/frame"
	"weft/frame/frametest"
	"weft/service/lease"
)

// noRouter is all without advertisements, which would come in between.
func noRouter() Settings {
	v := all()
	v.Advertise = false
	return v
}

func TestGuestGetsAnAddressByDHCPv4(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		a := r.obtain(7, guest)
		if first, last := netip.MustParseAddr("192.168.150.100"), netip.MustParseAddr("192.168.150.200"); a.Less(first) || last.Less(a) {
			t.Errorf("got %v", a)
		}
		e := r.event()
		if e.What != "DHCPACK" || e.Port != "vm7" || e.MAC != guest || !slices.Equal(e.Addresses, []netip.Addr{a}) || e.Err != nil {
			t.Errorf("told of %+v", e)
		}
		leases := r.Leases()
		if len(leases) != 1 || leases[0].Address != a || leases[0].Client.Port != "vm7" || leases[0].State != lease.Bound {
			t.Errorf("%+v", leases)
		}
		time.Sleep(time.Hour + time.Second)
		if l := r.Leases()[0]; l.State == lease.Bound {
			t.Errorf("an hour later: %+v", l)
		}
		if err := r.Release(a); err != nil {
			t.Error(err)
		}
		if len(r.Leases()) != 0 {
			t.Errorf("%+v", r.Leases())
		}
		if c := r.Counters(); c.DHCPv4.Ack != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// The gateway names itself for names and as the router, the MTU and the domain.
func TestGuestIsToldOfTheGateway(t *testing.T) {
	v := noRouter()
	v.DNS = true
	want := v.dhcp4()
	if !slices.Equal(want.DNS, []netip.Addr{gateway4}) || want.Domain != "vm.internal" || want.MTU != 1500 || want.Lease != time.Hour {
		t.Errorf("%+v", want)
	}
	if six := v.dhcp6(); !slices.Equal(six.DNS, []netip.Addr{gateway6}) || !slices.Equal(six.Search, []string{"vm.internal"}) || six.Subnet != netip.MustParsePrefix("fd5a:150::/64") {
		t.Errorf("%+v", six)
	}
	v.DNS, v.Servers = false, []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")}
	if four, six := v.dhcp4(), v.dhcp6(); !slices.Equal(four.DNS, v.Servers[:1]) || !slices.Equal(six.DNS, v.Servers[1:]) {
		t.Errorf("without DNS of its own: %v and %v", four.DNS, six.DNS)
	}
	v.Servers = nil
	if four, six := v.dhcp4(), v.dhcp6(); four.DNS != nil || six.DNS != nil {
		t.Errorf("without any: %v and %v", four.DNS, six.DNS)
	}
}

// A virtio guest leaves the checksum to the device.
func TestPartialChecksumIsCompleted(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		p := discover(guest)
		h := frame.IPv4(p[14:])
		sum := h.PseudoSum(frame.ProtocolUDP, len(p)-34)
		p[34+6], p[34+7] = byte(sum>>8), byte(sum)
		bufs := frame.NewBufs(1)
		bufs[0].SetBytes(p)
		bufs[0].Offload = frame.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}
		r.Process(0, bufs)
		if m := r.reply4(r.next(time.Second)); m.MessageType() != dhcpv4.MessageTypeOffer {
			t.Error(m.Summary())
		}
	})
}

func TestWrongChecksumIsNotServed(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		p := discover(guest)
		p[len(p)-1] ^= 1
		if got := r.process(1, p); got != frame.Taken {
			t.Error(got)
		}
		r.quiet(time.Second)
		if c := r.Counters(); c.BadDatagrams != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestGuestThatHasGoneIsNotServed(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		r.c.PortName = func(frame.PortID) string { return "" }
		r.process(1, discover(guest))
		r.quiet(time.Second)
	})
}

// solicit6 returns the frame of a DHCPv6 message.
func message6(m *dhcpv6.Message) []byte {
	from := frametest.End{MAC: guest, Addr: netip.MustParseAddr("fe80::5054:ff:fe00:1"), Port: 546}
	to := frametest.End{MAC: 0x3333_0001_0002, Addr: netip.MustParseAddr("ff02::1:2"), Port: 547}
	return frametest.UDP(from, to, m.ToBytes())
}

func TestGuestGetsAnAddressByDHCPv6(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		hw := make([]byte, 6)
		guest.Put(hw)
		duid := &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: hw}
		solicit, err := dhcpv6.NewSolicit(hw, dhcpv6.WithClientID(duid))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.process(7, message6(solicit)); got != frame.Taken {
			t.Fatal(got)
		}
		request, err := dhcpv6.NewRequestFromAdvertise(r.reply6(r.next(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		r.process(7, message6(request))
		reply := r.reply6(r.next(time.Second))
		ia := reply.Options.OneIANA()
		if ia == nil || ia.Options.OneAddress() == nil {
			t.Fatal(reply.Summary())
		}
		a, _ := netip.AddrFromSlice(ia.Options.OneAddress().IPv6Addr)
		if want := defaultRange6(netip.PrefixFrom(gateway6, 64)); a.Less(want.First) || want.Last.Less(a) {
			t.Errorf("got %v", a)
		}
		if e := r.event(); e.What != "REPLY" || e.Port != "vm7" || !slices.Equal(e.Addresses, []netip.Addr{a}) {
			t.Errorf("told of %+v", e)
		}
	})
}

// reply6 reads the DHCPv6 message in a frame of the gateway's.
func (r *rig) reply6(p []byte) *dhcpv6.Message {
	r.Helper()
	d, ok := parseDatagram(p)
	if !ok || d.mac != gatewayMAC || d.from != linkLocal {
		r.Fatalf("%+v, %v", d, ok)
	}
	m, err := dhcpv6.MessageFromBytes(d.payload)
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// solicitation returns the frame of a router solicitation.
func solicitation() []byte {
	from := frametest.End{MAC: guest, Addr: netip.MustParseAddr("fe80::5054:ff:fe00:1")}
	p := frametest.Ping(from, frametest.End{MAC: 0x3333_0000_0002, Addr: netip.MustParseAddr("ff02::2")}, 0, 0)[:14+40+8]
	h, m := frame.IPv6(p[14:]), p[14+40:]
	h[7] = 255
	h.SetPayloadLen(len(m))
	copy(m, []byte{133, 0, 0, 0, 0, 0, 0, 0})
	sum := ^frame.Sum(m, h.PseudoSum(frame.ProtocolICMPv6, len(m)))
	m[2], m[3] = byte(sum>>8), byte(sum)
	return p
}

func (r *rig) advertisement(p []byte) (*ndp.RouterAdvertisement, netip.Addr) {
	r.Helper()
	if err := frametest.Checksums(p); err != nil {
		r.Fatal(err)
	}
	m, err := ndp.ParseMessage(p[14+40:])
	if err != nil {
		r.Fatal(err)
	}
	return m.(*ndp.RouterAdvertisement), frame.IPv6(p[14:]).Dst()
}

func TestRouterIsAdvertised(t *testing.T) {
	serving(t, all(), func(r *rig) {
		ra, to := r.advertisement(r.next(0))
		if to != netip.MustParseAddr("ff02::1") || ra.RouterLifetime != 1800*time.Second || !ra.ManagedConfiguration || !ra.OtherConfiguration {
			t.Errorf("%+v to %v", ra, to)
		}
		p, ok := ra.Options[2].(*ndp.PrefixInformation)
		if !ok || !p.AutonomousAddressConfiguration || !p.OnLink || p.Prefix != netip.MustParseAddr("fd5a:150::") {
			t.Errorf("%+v", ra.Options)
		}
		r.next(16 * time.Second)
		r.next(16 * time.Second)

		time.Sleep(5 * time.Second)
		if got := r.process(1, solicitation()); got != frame.Taken {
			t.Fatal(got)
		}
		if _, to := r.advertisement(r.next(500 * time.Millisecond)); to != netip.MustParseAddr("fe80::5054:ff:fe00:1") {
			t.Errorf("answered to %v", to)
		}
		bad := solicitation()
		bad[14+7] = 64
		r.process(1, bad)
		r.quiet(time.Second)
		if c := r.Counters(); c.Solicitations != 1 || c.BadSolicitations != 1 || c.Advertisements != 4 {
			t.Errorf("%+v", c)
		}

		r.Farewell()
		if ra, _ := r.advertisement(r.next(0)); ra.RouterLifetime != 0 {
			t.Errorf("farewell: %+v", ra)
		}
	})
}

func TestRouterThatLeadsNowhereSaysSo(t *testing.T) {
	v := all()
	v.Outside, v.DHCPv6 = false, false
	v.Subnets = append(v.Subnets, netip.MustParsePrefix("fd5a:151::1/80"))
	serving(t, v, func(r *rig) {
		ra, _ := r.advertisement(r.next(0))
		if ra.RouterLifetime != 0 || ra.ManagedConfiguration || ra.OtherConfiguration {
			t.Errorf("%+v", ra)
		}
		if p, ok := ra.Options[3].(*ndp.PrefixInformation); !ok || p.AutonomousAddressConfiguration || p.PrefixLength != 80 {
			t.Errorf("%+v", ra.Options)
		}
	})
}

func TestRouterSaysFarewellWhenItIsTurnedOff(t *testing.T) {
	serving(t, all(), func(r *rig) {
		r.next(0)
		if err := r.Set(noRouter()); err != nil {
			t.Fatal(err)
		}
		if ra, _ := r.advertisement(r.next(0)); ra.RouterLifetime != 0 {
			t.Errorf("%+v", ra)
		}
		r.quiet(time.Hour)
		r.Farewell()
		r.quiet(time.Second)
		if err := r.Set(all()); err != nil {
			t.Fatal(err)
		}
		if ra, _ := r.advertisement(r.next(0)); ra.RouterLifetime == 0 {
			t.Errorf("turned on: %+v", ra)
		}
	})
}

func TestSetKeepsLeases(t *testing.T) {
	serving(t, noRouter(), func(r *rig) {
		a := r.obtain(7, guest)
		changed := noRouter()
		changed.Ranges[0].First = netip.MustParseAddr("192.168.150.2")
		changed.Lease, changed.Domain = time.Minute, "other.internal"
		if err := r.Set(changed); err != nil {
			t.Fatal(err)
		}
		if b := r.obtain(7, guest); b != a {
			t.Errorf("got %v, had %v", b, a)
		}
	})
}

func TestBadSettingsChangeNothing(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"is not a range":   func(v *Settings) { v.Ranges[0].Last = netip.MustParseAddr("192.168.150.1") },
		`DNS domain ""`:    func(v *Settings) { v.DNS, v.Domain = true, "" },
		"MTU of 1000":      func(v *Settings) { v.Advertise, v.MTU = true, 1000 },
		"not a link-local": func(v *Settings) { v.Advertise, v.LinkLocal = true, gateway6 },
	} {
		t.Run(want, func(t *testing.T) {
			serving(t, noRouter(), func(r *rig) {
				bad := noRouter()
				change(&bad)
				bad.DHCPv4 = false
				if err := r.Set(bad); err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%v, want one that has %q", err, want)
				}
				r.obtain(7, guest)
			})
		})
	}
}

func TestEachServiceRunsWithoutTheOthers(t *testing.T) {
	for bits := range 8 {
		v := all()
		v.DHCPv4, v.DHCPv6, v.Advertise = bits&1 != 0, bits&2 != 0, bits&4 != 0
		serving(t, v, func(r *rig) {
			if v.Advertise {
				r.next(0)
			}
			for _, c := range []struct {
				p  []byte
				on bool
			}{{discover(guest), v.DHCPv4}, {message6(&dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit}), v.DHCPv6}, {solicitation(), v.Advertise}} {
				want := frame.Reason(0)
				if c.on {
					want = frame.Taken
				}
				if got := r.process(1, c.p); got != want {
					t.Errorf("%+v: %v, want %v", v, got, want)
				}
			}
		})
	}
	for name, subnets := range map[string][]netip.Prefix{
		"IPv4 alone": {netip.PrefixFrom(gateway4, 24)},
		"IPv6 alone": {netip.PrefixFrom(gateway6, 64)},
		"neither":    nil,
	} {
		v := all()
		v.Subnets = subnets
		if subnets == nil || subnets[0].Addr().Is6() {
			v.Ranges = nil
		}
		serving(t, v, func(r *rig) {
			four := len(subnets) > 0 && subnets[0].Addr().Is4()
			if got := r.process(1, discover(guest)); (got == frame.Taken) != four {
				t.Errorf("%s: DHCPv4 %v", name, got)
			}
			six := len(subnets) > 0 && subnets[0].Addr().Is6()
			if got := r.process(1, solicitation()); (got == frame.Taken) != six {
				t.Errorf("%s: router solicitation %v", name, got)
			}
		})
	}
}

func TestDefaultRange6(t *testing.T) {
	for subnet, want := range map[string][2]string{
		"fd00::1/64":     {"fd00::1:0", "fd00::1:ffff"},
		"fd00::1:2:3/48": {"fd00::1:0", "fd00::1:ffff"},
		"fd00::1/111":    {"fd00::1:0", "fd00::1:ffff"},
		"fd00::1/112":    {"fd00::8000", "fd00::ffff"},
		"fd00::1/120":    {"fd00::80", "fd00::ff"},
		"fd00::5:1/126":  {"fd00::5:2", "fd00::5:3"},
	} {
		r := defaultRange6(netip.MustParsePrefix(subnet))
		if r.First.String() != want[0] || r.Last.String() != want[1] {
			t.Errorf("%s: %v to %v, want %v", subnet, r.First, r.Last, want)
		}
	}
}
