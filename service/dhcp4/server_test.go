package dhcp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"weft/frame"
)

const (
	discoverMsg = layers.DHCPMsgTypeDiscover
	requestMsg  = layers.DHCPMsgTypeRequest
	declineMsg  = layers.DHCPMsgTypeDecline
	releaseMsg  = layers.DHCPMsgTypeRelease
	informMsg   = layers.DHCPMsgTypeInform
)

func seconds(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(d/time.Second))
}

func wantErr(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, want, text)
	}
}

func TestXidFlagsGiaddrChaddrAreCopied(t *testing.T) {
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	for name, a := range map[string]*ask{
		"plain":     client(1, discoverMsg),
		"broadcast": client(2, discoverMsg).broadcast(),
		"relayed":   client(3, discoverMsg).giaddr("192.0.2.7"),
		"refused":   client(4, requestMsg).requested("198.51.100.1").broadcast(),
	} {
		a.p.Secs, a.p.HardwareOpts = 7, 3
		n := r.say(a)
		if n.p.Xid != a.p.Xid || n.p.Flags != a.p.Flags || !bytes.Equal(n.p.ClientHWAddr, a.p.ClientHWAddr) ||
			a.p.RelayAgentIP != nil && !n.p.RelayAgentIP.Equal(a.p.RelayAgentIP) || n.p.Secs != 0 || n.p.HardwareOpts != 0 {
			t.Errorf("%s:\nasked %+v\n got %+v", name, a.p, n.p)
		}
	}
	if n := r.say(client(5, discoverMsg).ciaddr("192.0.2.9")); !n.p.ClientIP.IsUnspecified() {
		t.Errorf("an OFFER has the ciaddr %s (RFC 2131 table 3: 0)", n.p.ClientIP)
	}
}

func TestReplyGoesToRelayElseCiaddrElseBroadcastElseClient(t *testing.T) {
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	a := r.join(1).String()
	for _, row := range []struct {
		name string
		a    *ask
		kind string
		mac  frame.MAC
		to   string
	}{
		{"giaddr", client(1, discoverMsg).giaddr("192.0.2.7").by(mac(77)), "DHCPOFFER", mac(77), "192.0.2.7:67"},
		{"giaddr before broadcast", client(1, discoverMsg).giaddr("192.0.2.7").by(mac(77)).broadcast(), "DHCPOFFER", mac(77), "192.0.2.7:67"},
		{"ciaddr", client(1, requestMsg).ciaddr(a), "DHCPACK", mac(1), a + ":68"},
		{"ciaddr before broadcast", client(1, requestMsg).ciaddr(a).broadcast(), "DHCPACK", mac(1), a + ":68"},
		{"broadcast", client(1, discoverMsg).broadcast(), "DHCPOFFER", frame.Broadcast, "255.255.255.255:68"},
		{"client", client(1, discoverMsg), "DHCPOFFER", mac(1), a + ":68"},
		{"NAK", client(1, requestMsg).requested("198.51.100.1"), "DHCPNAK", frame.Broadcast, "255.255.255.255:68"},
		{"NAK of ciaddr", client(1, requestMsg).ciaddr("198.51.100.1"), "DHCPNAK", frame.Broadcast, "255.255.255.255:68"},
		{"NAK by giaddr", client(1, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7").by(mac(77)), "DHCPNAK", mac(77), "192.0.2.7:67"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &rig{t, r.s, r.book, r.now}
			r.say(row.a).kind(row.kind).goesTo(row.mac, row.to)
		})
	}
	if n := r.say(client(1, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7")); n.p.Flags&0x8000 == 0 {
		t.Error("the relay agent is not told to pass the NAK on by broadcast (RFC 2131 4.3.2)")
	}
}

func TestNakSaysWhyAndNothingMore(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, requestMsg).ciaddr("198.51.100.1").opt(layers.DHCPOptClientID, 0, 'x')).kind("DHCPNAK")
	n.gives(netip.AddrFrom4([4]byte{}))
	if !n.p.ClientIP.Equal(n.p.YourClientIP) {
		t.Errorf("ciaddr is %s", n.p.ClientIP)
	}
	n.has(layers.DHCPOptServerID, []byte{192, 0, 2, 1}).has(layers.DHCPOptClientID, []byte{0, 'x'})
	for o := range n.options {
		switch o {
		case layers.DHCPOptMessageType, layers.DHCPOptServerID, layers.DHCPOptMessage, layers.DHCPOptClientID:
		default:
			t.Errorf("option %d is in a NAK (RFC 2131 table 3)", o)
		}
	}
	const why = "198.51.100.1 is not of this network, 192.0.2.0/24"
	if n.Note != why || string(n.options[layers.DHCPOptMessage]) != why {
		t.Errorf("told %q, to the client %q", n.Note, n.options[layers.DHCPOptMessage])
	}
}

func TestClientIdentifierComesBack(t *testing.T) { // RFC 6842
	r := standard(t)
	r.say(client(1, discoverMsg).opt(layers.DHCPOptClientID, 0, 9, 9)).has(layers.DHCPOptClientID, []byte{0, 9, 9})
	r.say(client(2, discoverMsg)).has(layers.DHCPOptClientID, nil)
}

func TestOption82ComesBackToARelayAgentOnly(t *testing.T) { // RFC 3046
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	info := []byte{1, 3, 'e', 't', 'h'}
	n := r.say(client(1, discoverMsg).giaddr("192.0.2.7").opt(82, info...)).has(82, info)
	last := n.p.Options[len(n.p.Options)-1]
	if last.Type == layers.DHCPOptEnd {
		last = n.p.Options[len(n.p.Options)-2]
	}
	if last.Type != 82 {
		t.Errorf("option %d stands last (RFC 3046 2.1: option 82 does)", last.Type)
	}
	r.say(client(2, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7").opt(82, info...)).kind("DHCPNAK").has(82, info)
	r.say(client(3, discoverMsg).opt(82, info...)).has(82, nil) // a guest's
	wantErr(t, r.silent(client(3, discoverMsg).giaddr("192.0.2.8").opt(82, info...)), ErrIgnored, "192.0.2.8 is not one of the network's relay agents")
}

func TestServerIsSilentBeforeSet(t *testing.T) {
	r := standard(t)
	_, err := New(Config{Book: r.book}).Handle(start, client(1, discoverMsg).request(t))
	wantErr(t, err, ErrIgnored, "off")
}

func TestSetTellsAllFaults(t *testing.T) {
	err := New(Config{}).Set(Settings{
		MAC: frame.Broadcast, Server: netip.MustParsePrefix("2001:db8::1/64"),
		DNS: []netip.Addr{addr("2001:db8::53"), {}}, Routers: make([]netip.Addr, 64),
		Domain: "a..b", Search: []string{strings.Repeat("x", 64)}, MTU: 10, Lease: -1,
		Routes: []Route{{}, {netip.MustParsePrefix("10.0.0.1/8"), addr("192.0.2.1")}},
	})
	for _, want := range []string{
		"DHCPv4: ", "ff:ff:ff:ff:ff:ff is no gateway's MAC", "2001:db8::1/64 is not a server's", "2001:db8::53 cannot be a DNS server",
		"64 addresses of a router", `"a..b" is not a domain`, "MTU 10 (want 68 to 65535)", "a lease of -1ns", "10.0.0.1/8 by 192.0.2.1 is not a route",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
}
