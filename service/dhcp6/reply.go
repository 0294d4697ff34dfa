package dhcp6

import (
	"net/netip"

	"weft/service/datagram"
)

// reply builds the answer: who speaks to whom, and the body (RFC 8415 18.3.9, 18.3.10).
func (x *exchange) reply(k kind) Reply {
	if k == advertise {
		x.add(&x.count.Advertise)
	} else {
		x.add(&x.count.Reply)
	}
	p := append([]byte{byte(k)}, x.m.xid[:]...)
	if x.m.client != nil {
		p = appendValue(p, optClientID, x.m.client)
	}
	p = append(appendValue(p, optServerID, x.c.DUID), x.body...)
	from := datagram.Endpoint{MAC: x.v.MAC, Addr: netip.AddrPortFrom(x.v.Source, ServerPort)}
	to := datagram.Endpoint{MAC: x.q.MAC, Addr: netip.AddrPortFrom(x.q.From, ClientPort)}
	return Reply{Frame: datagram.Frame(from, to, p), Kind: k.String(), Leases: x.leases, Note: x.note}
}
