package dhcp6

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"weft/service/datagram"
)

// reply builds the answer: who speaks to whom, and what is told (RFC 8415 18.3.9,
// 18.3.10).
func (x *exchange) reply(k dhcpv6.MessageType) Reply {
	if k == dhcpv6.MessageTypeAdvertise {
		x.add(&x.count.Advertise)
	} else {
		x.add(&x.count.Reply)
	}
	p := dhcpv6.Message{MessageType: k, TransactionID: x.m.xid}
	if x.m.client != nil {
		p.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: x.m.client})
	}
	p.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: x.c.DUID})
	p.Options.Options = append(p.Options.Options, x.told...)
	from := datagram.Endpoint{MAC: x.v.MAC, Addr: netip.AddrPortFrom(x.v.Source, ServerPort)}
	to := datagram.Endpoint{MAC: x.q.MAC, Addr: netip.AddrPortFrom(x.q.From, ClientPort)}
	return Reply{Frame: datagram.Frame(from, to, p.ToBytes()), Kind: k.String(), Leases: x.leases, Note: x.note}
}
