package gateway

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/test/lab"
)

// A narrow link beyond the provider's router: its ICMP errors reach the guest, whose
// kernel then knows the path's MTU (RFC 1191, RFC 8201), and transfers go through.
func TestPathMTUBehindTheRouter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Server.Serve()
	s.Router.Run("ip link set lan mtu 1300")
	s.Server.Run("ip link set eth0 mtu 1300")
	s.weftd(oneGuest)
	a := s.container("ct1")
	for _, f := range lab.Families {
		s.tooBig(a, f, 1400, 1300)
		if out := a.Run("ip route get %s", f.Server); !strings.Contains(out, "mtu 1300") {
			t.Errorf("%s: the guest's route: %s, want mtu 1300", f.Name, out)
		}
		s.Transfers(a, f.Server, 4<<20)
	}
}

// A narrow uplink: weft itself tells the guest, and makes its TCP ask for segments that
// fit.
func TestPathMTUOfTheUplink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Server.Serve()
	s.hv.Run("ip link set nic0 mtu 1400")
	s.Router.Run("ip link set wan mtu 1400")
	s.weftd(oneGuest)
	a := s.container("ct1")
	wire := s.Server.Wire("eth0")
	for _, f := range lab.Families {
		wire.Forget()
		s.looks(a, f, f.Host)
		syn := wire.Awaits("a SYN of the guest", func(b []byte) bool { return mss(b) > 0 })
		if want := 1400 - map[string]int{"-4": 40, "-6": 60}[f.Version]; mss(syn) != want {
			t.Errorf("%s: MSS %d, want %d", f.Name, mss(syn), want)
		}
		s.tooBig(a, f, 1450, 1400)
		s.Transfers(a, f.Server, 4<<20)
	}
	t.Log("what may be fragmented is")
	out := a.Run("ping -4 -c 2 -i 0.2 -M dont -s 1450 %s", lab.Families[0].Server)
	if !strings.Contains(out, " 0% packet loss") {
		t.Errorf("%s", out)
	}
}

// tooBig checks that a packet of size bytes that must not be fragmented is refused with
// the way's MTU.
func (s *site) tooBig(from *container, f lab.Family, size, mtu int) {
	s.Helper()
	header := map[string]int{"-4": 28, "-6": 48}[f.Version]
	out, err := from.Sh(s.Context(), fmt.Sprintf("ping %s -c 2 -i 0.3 -W 1 -M do -s %d %s 2>&1", f.Version, size-header, f.Server))
	told := regexp.MustCompile(fmt.Sprintf(`mtu ?= ?%d`, mtu))
	if err == nil || !told.MatchString(out) {
		s.Errorf("%s: a packet of %d bytes: want it refused with MTU %d:\n%s", f.Name, size, mtu, out)
	}
	small := mtu - header
	if out, err := from.Sh(s.Context(), fmt.Sprintf("ping %s -c 1 -W 2 -M do -s %d %s 2>&1", f.Version, small, f.Server)); err != nil {
		s.Errorf("%s: a packet of %d bytes: %v:\n%s", f.Name, mtu, err, out)
	}
}

// mss returns the maximum segment size that a SYN asks for, 0 if the frame is none.
func mss(b []byte) int {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy)
	tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok || !tcp.SYN || tcp.ACK {
		return 0
	}
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS && len(o.OptionData) == 2 {
			return int(o.OptionData[0])<<8 | int(o.OptionData[1])
		}
	}
	return 0
}

// Each router on the way shows itself, weft the first of them.
func TestTraceroute(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.weftd(oneGuest)
	a := s.container("ct1")
	for _, f := range lab.Families {
		out := a.Run("busybox traceroute%s -n -q 1 -w 2 -m 5 %s", map[string]string{"-4": "", "-6": "6"}[f.Version], f.Server)
		var hops []string
		for line := range strings.Lines(out) {
			if w := strings.Fields(line); len(w) > 1 && w[0] != "traceroute" && !strings.HasPrefix(w[0], "traceroute") {
				hops = append(hops, w[1])
			}
		}
		if want := []string{f.Gateway, f.Router, f.Server}; strings.Join(hops, " ") != strings.Join(want, " ") {
			t.Errorf("%s: hops %v, want %v:\n%s", f.Name, hops, want, out)
		}
	}
}

// ICMP errors find their way back through NAT, in both directions, and end nothing.
func TestErrorsComeBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	for _, f := range lab.Families {
		t.Logf("%s: nobody listens outside", f.Name)
		if err := refused(a.MustDial("udp", at(f.Server, 9))); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: a closed port of the server: %v, want it refused", f.Name, err)
		}

		t.Logf("%s: nobody listens inside any more", f.Name)
		server := s.Server.ListenUDP(at(f.Server, 0))
		inside := a.MustDial("udp", server.LocalAddr().String())
		if _, err := inside.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		_ = server.SetReadDeadline(time.Now().Add(3 * time.Second))
		_, from, err := server.ReadFromUDP(b)
		if err != nil {
			t.Fatal(err)
		}
		mine := inside.LocalAddr().String()
		_ = inside.Close()
		_ = server.Close()
		back, err := s.Server.DialFrom("udp", server.LocalAddr().String(), from.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := refused(back); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: a closed port of the guest: %v, want it refused", f.Name, err)
		}
		found := false
		for _, n := range w.Sessions() {
			found = found || n.Inside.String() == mine
		}
		if !found {
			t.Errorf("%s U12: the error ended the session of %s", f.Name, mine)
		}
	}
}

// refused sends by a UDP connection until something comes back, and returns the error.
func refused(c net.Conn) error {
	b := make([]byte, 16)
	var err error
	for range 10 {
		if _, err = c.Write([]byte("?")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err = c.Read(b); !errors.Is(err, syscall.ETIMEDOUT) && !isTimeout(err) {
			return err
		}
	}
	return err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
