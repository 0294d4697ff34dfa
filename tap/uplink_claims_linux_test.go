package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// eachMode runs f for a NIC that is bridged and one that is not, with each hook.
func eachMode(t *testing.T, f func(t *testing.T, bridged bool)) {
	for _, bridged := range []bool{false, true} {
		t.Run(fmt.Sprintf("bridged=%t", bridged), func(t *testing.T) {
			eachHook(t, func(t *testing.T) { f(t, bridged) })
		})
	}
}

func TestClaimsDivideOneAddress(t *testing.T) {
	eachMode(t, func(t *testing.T, bridged bool) {
		s := newShared(t, bridged)
		s.claim(t, ClaimSession, frame.ProtocolTCP, 50001, hostAddresses...)
		s.claim(t, ClaimForward, frame.ProtocolTCP, 2222, hostAddresses...)
		hosts, weft, forward, hidden := serve(t, s.host, 4000), serve(t, s.inner, 50001), serve(t, s.inner, 2222), serve(t, s.host, 2222)
		for _, a := range hostAddresses {
			for _, want := range []struct {
				what string
				port int
				data []byte
			}{
				{"the host's port", 4000, hosts},
				{"a session's port", 50001, weft},
				{"a forwarded port, where the host listens too", 2222, forward},
			} {
				if got := fetch(t, s.wire, a, want.port); !bytes.Equal(got, want.data) {
					t.Errorf("%s of %s: %d bytes, not those sent", want.what, a, len(got))
				}
			}
		}
		if s.relay.superframes.Load() == 0 || s.relay.partial.Load() == 0 {
			t.Errorf("%d superframes and %d partial checksums came to the switch, want some", s.relay.superframes.Load(), s.relay.partial.Load())
		}
		if n := s.relay.frames.Load(); n > 16<<20/2000 {
			t.Errorf("%d frames for 16 MiB: they were segmented, or the host's came too", n)
		}
		// Released, the port is the listener's again.
		must(t, s.claims.Release(frame.ProtocolTCP, netip.MustParseAddrPort("10.7.0.10:2222"), ClaimForward))
		if got := fetch(t, s.wire, "10.7.0.10", 2222); !bytes.Equal(got, hidden) {
			t.Errorf("the host's listener: %d bytes, not those sent", len(got))
		}
		ping(t, &s.wire, 3, "10.7.0.10")
		ping(t, nil, 3, "fd07::20")
		if bridged {
			for _, a := range []string{"10.7.0.10", "10.7.0.20", "fd07::10", "fd07::20"} {
				ping(t, &s.guest, 3, a)
			}
			transfer(t, s.guest, s.wire, "10.7.0.20")
		}
	})
}

// The host's own sockets keep ports that are claimed for sessions.
func TestClaimsLeaveHostItsSockets(t *testing.T) {
	eachMode(t, func(t *testing.T, bridged bool) {
		s := newShared(t, bridged)
		for _, port := range []int{4000, 4002} {
			s.claim(t, ClaimSession, frame.ProtocolTCP, port, hostAddresses...)
			s.claim(t, ClaimSession, frame.ProtocolUDP, port, hostAddresses...)
		}
		hosts, far := serve(t, s.host, 4000), serve(t, s.wire, 9)
		for _, a := range []struct{ host, wire string }{{"10.7.0.10", "10.7.0.20"}, {"fd07::10", "fd07::20"}} {
			if got := fetch(t, s.wire, a.host, 4000); !bytes.Equal(got, hosts) {
				t.Errorf("a listener's connection: %d bytes, not those sent", len(got))
			}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a.host), Port: 4002}, Timeout: patience}
			c, err := d.Dial("tcp", net.JoinHostPort(a.wire, "9"))
			must(t, err)
			got, err := io.ReadAll(c)
			must(t, err)
			must(t, c.Close())
			if !bytes.Equal(got, far) {
				t.Errorf("the host's own connection: %d bytes, not those sent", len(got))
			}
			u, err := net.ListenPacket("udp", net.JoinHostPort(a.host, "4000"))
			must(t, err)
			for _, size := range []int{1, 1400, 9000} { // the last in fragments
				sendUDP(t, s.wire, net.JoinHostPort(a.host, "4000"), size)
				if n := receiveUDP(t, u); n != size {
					t.Errorf("UDP of %d bytes: %d came", size, n)
				}
			}
			must(t, u.Close())
		}
	})
}

// The host must not answer what is not for it: a reset would end a guest's connection.
func TestClaimsKeepHostSilent(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		s := newShared(t, false)
		s.claim(t, ClaimSession, frame.ProtocolTCP, 50001, hostAddresses...)
		s.claim(t, ClaimSession, frame.ProtocolUDP, 50001, hostAddresses...)
		weft := serve(t, s.inner, 50001)
		resets, unreachable, unreachable6 := snmp(t, "Tcp:OutRsts"), snmp(t, "Icmp:OutDestUnreachs"), snmp(t, "Icmp6OutDestUnreachs")
		var u net.PacketConn
		must(t, s.inner.do(func() (err error) {
			u, err = net.ListenPacket("udp", ":50001")
			return err
		}))
		defer u.Close()
		for _, a := range hostAddresses {
			if got := fetch(t, s.wire, a, 50001); !bytes.Equal(got, weft) {
				t.Errorf("%d bytes, not those sent", len(got))
			}
			for _, size := range []int{1, 1400, 9000} {
				sendUDP(t, s.wire, net.JoinHostPort(a, "50001"), size)
				if n := receiveUDP(t, u); n != size {
					t.Errorf("UDP of %d bytes: %d came", size, n)
				}
			}
		}
		if now := snmp(t, "Tcp:OutRsts"); now != resets {
			t.Errorf("the host sent %d resets", now-resets)
		}
		if n := snmp(t, "Icmp:OutDestUnreachs") - unreachable + snmp(t, "Icmp6OutDestUnreachs") - unreachable6; n != 0 {
			t.Errorf("the host sent %d ICMP errors", n)
		}
		// Where nothing is claimed, it does.
		must(t, s.wire.do(func() error {
			if c, err := net.DialTimeout("tcp", "10.7.0.10:50002", patience); err == nil {
				c.Close()
				return errors.New("somebody listens")
			}
			return nil
		}))
		if now := snmp(t, "Tcp:OutRsts"); now == resets {
			t.Error("the host did not reset what nobody claims")
		}
	})
}

func TestClaimsShareICMP(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		s := newShared(t, false)
		s.claim(t, ClaimSession, frame.ProtocolICMP, 77, "10.7.0.10")
		s.claim(t, ClaimSession, frame.ProtocolICMPv6, 77, "fd07::10")
		s.claim(t, ClaimSession, frame.ProtocolUDP, 50001, hostAddresses...)
		for _, far := range []string{"10.7.0.20", "fd07::20"} {
			// Both ping with one identifier, and both have every reply once.
			for _, from := range []*place{nil, &s.inner} {
				args := append([]string{"-e", "77"}, pingArgs(5, far)...)
				before := s.relay.frames.Load()
				out := run(t, from, "ping", args...)
				checkPing(t, 5, out)
				if strings.Contains(out, "DUP") {
					t.Errorf("replies came twice:\n%s", out)
				}
				// The host may have the last reply before the switch has read its copy.
				eventually(t, "that the switch sees 5 replies to a claimed echo", func() bool {
					return from != nil || s.relay.frames.Load()-before >= 5
				})
			}
			// An error about a datagram from a claimed port comes to its sender behind the
			// switch, and to the host.
			counter := map[bool]string{false: "Icmp:InDestUnreachs", true: "Icmp6InDestUnreachs"}[strings.Contains(far, ":")]
			errs := snmp(t, counter)
			must(t, s.inner.do(func() error {
				d := net.Dialer{LocalAddr: &net.UDPAddr{Port: 50001}}
				c, err := d.Dial("udp", net.JoinHostPort(far, "9"))
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := c.Write([]byte("x")); err != nil {
					return err
				}
				_ = c.SetReadDeadline(time.Now().Add(patience))
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
					return fmt.Errorf("read: %w, want ECONNREFUSED", err)
				}
				return nil
			}))
			if n := snmp(t, counter) - errs; n != 1 {
				t.Errorf("%s grew by %d, want 1", counter, n)
			}
		}
	})
}

// What is switched on and off costs nobody a frame.
func TestUplinkSetUnderTraffic(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		s := newShared(t, true)
		s.claim(t, ClaimSession, frame.ProtocolTCP, 50001, hostAddresses...)
		weft, hosts := serve(t, s.inner, 50001), serve(t, s.host, 4000)
		var out strings.Builder
		pings := exec.Command("ping", pingArgs(200, "10.7.0.10")...)
		pings.Stdout = &out
		must(t, s.wire.do(pings.Start))
		for i := range 40 {
			must(t, s.uplink.Set(i%2 == 0, i%4 < 2))
			for port, want := range map[int][]byte{50001: weft, 4000: hosts} {
				if got := fetch(t, s.wire, hostAddresses[i%2], port); !bytes.Equal(got, want) {
					t.Errorf("round %d, port %d: %d bytes, not those sent", i, port, len(got))
				}
			}
		}
		must(t, pings.Wait())
		checkPing(t, 200, out.String())
		if strings.Contains(out.String(), "DUP") {
			t.Error("replies came twice")
		}
		must(t, s.uplink.Set(true, false))
		must(t, s.uplink.SetGuest(mac(guestMAC), true))
		ping(t, &s.guest, 3, "10.7.0.20")
		ping(t, &s.guest, 3, "10.7.0.10")
	})
}

// claimsChild claims a port and crashes.
func claimsChild() error {
	if os.Getenv("HOOK") == "tap.clsact" {
		hooks = func() []hook { return []hook{clsact{}} }
	}
	c, err := NewClaims(10)
	if err != nil {
		return err
	}
	u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true, Claims: c})
	if err != nil {
		return err
	}
	if err := u.SetGuest(mac(guestMAC), true); err != nil {
		return err
	}
	if err := c.Claim(frame.ProtocolUDP, netip.MustParseAddrPort("10.7.0.10:50001"), ClaimForward); err != nil {
		return err
	}
	return ready()
}

// The next process forgets the claims, which are of sessions that are no more, and knows
// the guests, who are still there.
func TestClaimsEndWithTheNextStart(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		before := state(t)
		crash(startChild(t, "claims", "HOOK="+hookName()))
		u, err := net.ListenPacket("udp", "10.7.0.10:50001")
		must(t, err)
		defer u.Close()
		ping(t, &l.wire, 3, "10.7.0.10")
		sendUDP(t, l.wire, "10.7.0.10:50001", 1) // to nobody: weft's it stays
		ping(t, &l.wire, 1, "10.7.0.10")

		c, err := NewClaims(10)
		must(t, err)
		defer c.Close()
		next, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true, Claims: c})
		must(t, err)
		sendUDP(t, l.wire, "10.7.0.10:50001", 2)
		if n := receiveUDP(t, u); n != 2 {
			t.Errorf("received %d bytes, want the 2 sent after the start", n)
		}
		if macs, err := next.Guests(); err != nil || len(macs) != 1 || macs[0] != mac(guestMAC) {
			t.Errorf("guests after the crash: %v, %v", macs, err)
		}
		must(t, next.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

// A NIC that is moved away takes the programs along, which must not redirect to whatever
// has the companion's index there.
func TestUplinkMovedAwayIsFree(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newLab(t)
		away := newPlace(t)
		c, err := NewClaims(10)
		must(t, err)
		defer c.Close()
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true, Proxy: true, Claims: c})
		must(t, err)
		must(t, c.Claim(frame.ProtocolUDP, netip.MustParseAddrPort("10.7.0.10:50001"), ClaimForward))
		must(t, c.Own(netip.MustParsePrefix("10.7.0.10/32")))
		nic, err := linkByName("nic0")
		must(t, err)
		must(t, netlink.LinkSetNsFd(nic, int(away.ns)))
		_ = u.Close() // what it can remove no more is no failure that anybody could mend
		nic, err = away.LinkByName("nic0")
		must(t, err)
		addAddresses(t, away.Handle, nic, "10.7.0.10/24")
		must(t, away.LinkSetUp(nic))
		ping(t, &away, 3, "10.7.0.20")
	})
}
