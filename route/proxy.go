package route

import (
	"net/netip"
	"time"

	"weft/frame"
)

// A Proxy is a stage of an uplink's network. It answers who asks there for an address
// that is behind weft (RFC 1027, RFC 4389), and takes the question.
type Proxy struct {
	r  *Router
	at frame.PortID
}

// Proxy returns the proxy of an outside interface. Its answers differ from frame to
// frame. It does nothing while there is no such interface.
func (r *Router) Proxy(at frame.PortID) *Proxy { return &Proxy{r: r, at: at} }

// Process looks at the frames of one batch. It may be called on many workers at once.
func (x *Proxy) Process(_ time.Duration, bufs []*frame.Buf) {
	v := x.r.view.Load()
	i := v.byPort[x.at]
	if i == nil || !i.Outside {
		return
	}
	for _, b := range bufs {
		answered := false
		switch resolution(b) {
		case frame.EtherTypeARP:
			answered = x.answerARP(v, i, b)
		case frame.EtherTypeIPv6:
			answered = x.answerSolicitation(v, i, b)
		}
		if answered {
			b.Drop(frame.Taken)
		}
	}
}

// resolution returns the EtherType of a frame that may be ARP or neighbor discovery, and
// zero for all others, at a glance: every frame of a network is looked at.
func resolution(b *frame.Buf) frame.EtherType {
	const nextHeaderAt, typeAt = frame.EthernetLen + 6, frame.EthernetLen + ipv6Len
	p := b.Bytes()
	switch t := frame.Ethernet(p).Type(); t {
	case frame.EtherTypeARP:
		return t
	case frame.EtherTypeIPv6:
		if len(p) > typeAt && p[nextHeaderAt] == byte(frame.ProtocolICMPv6) &&
			(p[typeAt] == frame.ICMPv6Solicitation || p[typeAt] == frame.ICMPv6Advertisement) {
			return t
		}
	}
	return 0
}

// owns reports whether weft answers for the address at interface i, and whether it does
// so for a host behind it. The host's own addresses, and what its routes lead
// elsewhere, are none of its business.
func (v *view) owns(i *iface, a netip.Addr) (owned, proxied bool) {
	t := v.lookup(a)
	switch {
	case t == nil:
		return false, false
	case t.kind == external:
		return true, false
	}
	owned = i.Proxy && t.kind == routed && !t.iface.Outside && v.owned.Contains(a)
	return owned, owned
}

// answerARP answers a request. An announcement, of one who claims the address, is none
// (RFC 5227 1.1).
func (x *Proxy) answerARP(v *view, i *iface, b *frame.Buf) bool {
	p := frame.ARP(b.Bytes()[frame.EthernetLen:])
	if !p.Valid() || p.Op() != frame.ARPRequest || p.SenderIP() == p.TargetIP() || !isStation(p.SenderMAC(), i) {
		return false
	}
	if owned, _ := v.owns(i, p.TargetIP()); !owned {
		return false
	}
	s := &x.r.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.bufs[0]
	answer.MakeARP(p.SenderMAC(), frame.ARPReply, i.MAC, p.TargetIP(), p.SenderIP())
	answer.In = b.In
	return x.r.inject(x.at, answer)
}

// answerSolicitation answers a neighbor solicitation (RFC 4861 7.2.4, 7.2.8).
func (x *Proxy) answerSolicitation(v *view, i *iface, b *frame.Buf) bool {
	b.Parse()
	m := b.Neighbor()
	if m == nil || m.Type() != frame.ICMPv6Solicitation {
		return false
	}
	owned, proxied := v.owns(i, m.Target())
	if !owned {
		return false
	}
	to, _ := addresses(b)
	mac, flags := m.LinkAddr(), frame.AdvertSolicited
	switch {
	case to.IsUnspecified(): // duplicate address detection (RFC 4862 5.4)
		to, mac, flags = frame.AllNodes, frame.GroupMAC(frame.AllNodes), 0
	case mac == 0:
		mac = frame.Ethernet(b.Bytes()).Src()
	}
	if !to.IsMulticast() && !isStation(mac, i) {
		return false
	}
	if !proxied {
		flags |= frame.AdvertOverride
	}
	s := &x.r.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.bufs[0]
	answer.MakeAdvertisement(mac, i.MAC, first(i.linkLocal, m.Target()), to, flags, m.Target())
	answer.In = b.In
	return x.r.inject(x.at, answer)
}

// isStation reports whether an answer may go to the address.
func isStation(mac frame.MAC, i *iface) bool { return mac != 0 && !mac.IsGroup() && mac != i.MAC }

// A Listener is a stage of an inside network. It hears what stations there tell of
// themselves in frames to all: gratuitous ARP, unsolicited advertisements, and requests
// for the gateway.
type Listener struct {
	r  *Router
	at frame.PortID
}

// Listener returns the listener of an inside interface. It does nothing while there is
// no such interface. It is to come after what guards against false claims.
func (r *Router) Listener(at frame.PortID) *Listener { return &Listener{r: r, at: at} }

// Process looks at the frames of one batch. It drops those that would have the host's
// stack answer a station too many. It may be called on many workers at once.
func (x *Listener) Process(now time.Duration, bufs []*frame.Buf) {
	t := turn{r: x.r, v: x.r.view.Load(), now: now}
	if t.in = t.v.byPort[x.at]; t.in == nil || t.in.Outside {
		return
	}
	for _, b := range bufs {
		if frame.Ethernet(b.Bytes()).Dst().IsGroup() && b.In != x.at {
			t.overhear(b)
		}
	}
}
