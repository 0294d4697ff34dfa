package dhcp4

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"weft/frame"
	"weft/service/datagram"
	"weft/service/lease"
)

// offer offers the lease.
func (x *exchange) offer(l lease.Lease) Reply {
	x.add(&x.count.Offer)
	l.Expiry = x.now.Add(x.term())
	return x.grant(dhcpv4.MessageTypeOffer, l)
}

// ack says that the lease is the client's.
func (x *exchange) ack(l lease.Lease) Reply {
	x.add(&x.count.Ack)
	return x.grant(dhcpv4.MessageTypeAck, l)
}

// refuse says that the client may not have what it asks for.
func (x *exchange) refuse(format string, args ...any) Reply {
	x.add(&x.count.Nak)
	why := fmt.Errorf(format, args...).Error()
	p := x.blank(dhcpv4.MessageTypeNak)
	if x.m.giaddr.IsValid() {
		p.SetBroadcast() // RFC 2131 4.3.2: for the relay agent to pass it on so
	}
	p.UpdateOption(dhcpv4.OptMessage(why[:min(len(why), 255)]))
	return Reply{Kind: nameOf(dhcpv4.MessageTypeNak), Note: why, Frame: x.frame(p, x.destination(dhcpv4.MessageTypeNak, netip.Addr{}))}
}

// grant builds an OFFER or ACK. Without a lease it tells the rest only (RFC 2131 4.3.5).
func (x *exchange) grant(t dhcpv4.MessageType, l lease.Lease) Reply {
	p := x.blank(t)
	p.YourIPAddr = l.Address.AsSlice()
	if t == dhcpv4.MessageTypeAck {
		p.ClientIPAddr = x.m.ClientIPAddr
	}
	if l.Address.IsValid() {
		// Rounded down: the client must not think to have it for longer than it has.
		term := l.Expiry.Sub(x.now).Truncate(time.Second)
		p.UpdateOption(dhcpv4.OptIPAddressLeaseTime(term))
		p.UpdateOption(dhcpv4.OptRenewTimeValue(term / 2)) // RFC 2131 4.4.5
		p.UpdateOption(dhcpv4.OptRebindingTimeValue(term - term/8))
	}
	pack(p, x.v.told(x.m, l), x.room())
	return Reply{Kind: nameOf(t), Lease: l, Frame: x.frame(p, x.destination(t, l.Address))}
}

// blank returns a reply with what all of them have (RFC 2131 table 3). The client
// identifier comes back as it came (RFC 6842), and to a relay agent what it said
// (RFC 3046 2.2; the codec puts it last).
func (x *exchange) blank(t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        x.m.HWType,
		TransactionID: x.m.TransactionID,
		Flags:         x.m.Flags,
		GatewayIPAddr: x.m.GatewayIPAddr,
		ClientHWAddr:  x.m.ClientHWAddr,
		Options: dhcpv4.OptionsFromList(
			dhcpv4.OptMessageType(t),
			dhcpv4.OptServerIdentifier(x.v.Server.Addr().AsSlice()),
		),
	}
	for _, c := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation} {
		if b := x.m.Options.Get(c); len(b) > 0 {
			p.UpdateOption(dhcpv4.OptGeneric(c, b))
		}
	}
	return p
}

// room returns how long the reply may be, in bytes of UDP payload (RFC 2132 9.10).
func (x *exchange) room() int {
	mtu := x.v.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	return min(x.m.datagram, mtu) - headers
}

// destination returns where a reply goes (RFC 2131 4.1).
func (x *exchange) destination(t dhcpv4.MessageType, yiaddr netip.Addr) datagram.Endpoint {
	to := func(mac frame.MAC, a netip.Addr, port uint16) datagram.Endpoint {
		return datagram.Endpoint{MAC: mac, Addr: netip.AddrPortFrom(a, port)}
	}
	nak := t == dhcpv4.MessageTypeNak
	switch {
	case x.m.giaddr.IsValid():
		return to(x.q.MAC, x.m.giaddr, ServerPort) // by the way that the request came
	case !nak && x.m.ciaddr.IsValid():
		return to(x.m.client.MAC, x.m.ciaddr, ClientPort)
	case nak || x.m.IsBroadcast():
		return to(frame.Broadcast, netip.AddrFrom4([4]byte{255, 255, 255, 255}), ClientPort)
	default:
		return to(x.m.client.MAC, yiaddr, ClientPort)
	}
}

func (x *exchange) frame(p *dhcpv4.DHCPv4, to datagram.Endpoint) []byte {
	from := datagram.Endpoint{MAC: x.v.MAC, Addr: netip.AddrPortFrom(x.v.Server.Addr(), ServerPort)}
	return datagram.Frame(from, to, p.ToBytes())
}
