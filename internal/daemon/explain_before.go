package daemon

import (
	"net/netip"
	"slices"

	"weft/frame"
	"weft/internal/control/api"
	"weft/nat"
	"weft/service/dhcp4"
	"weft/service/dhcp6"
)

// kernelLocked is what weft's programs at a NIC leave to the switch. The NIC is the
// host's, and all else passes weft by.
func (w *way) kernelLocked() bool {
	u := w.d.uplinkLocked(w.in.device)
	if w.in.kind != kindUplink || u == nil {
		return true
	}
	_, station := w.guestLocked(w.flow.Dst)
	switch {
	case w.in.id == u.wire && w.flow.Dst == u.up.HostMAC():
		return w.claimedLocked(u)
	case w.in.id == u.wire && u.bridged() && station, w.in.id == u.host && u.bridged() && station:
		w.say("kernel", "for a guest: left to weft")
		return true
	case u.bridged() && (w.in.id == u.wire || w.flow.Dst.IsGroup()):
		w.say("kernel", "a copy goes to weft, the frame itself on its way past it")
		return true
	case w.in.id == u.wire && u.proxy && w.flow.Protocol == "arp":
		w.say("kernel", "a question that weft may answer: a copy goes to weft")
		return true
	}
	w.say("kernel", "none of weft's business: it goes from host to wire, or back, as ever")
	return false
}

// guestLocked returns the station if it lives behind a port of the network's own.
func (w *way) guestLocked(mac frame.MAC) (at member, ok bool) {
	s, known := w.stationLocked(w.in.net, mac)
	if !known {
		return member{}, false
	}
	at = w.memberLocked(s.Port)
	return at, at.kind != kindUplink
}

// claimedLocked tells whether weft claims a frame for the host's own address.
func (w *way) claimedLocked(u *nic) bool {
	l, f := w.d.layer3, w.flow
	owned := func(p netip.Prefix) bool { return p.Contains(f.To.Addr()) }
	switch {
	case f.VLAN != 0:
		w.say("kernel", "tagged: left to the host")
		return false
	case f.Protocol == "arp" && u.proxy && w.d.ownedLocked(f.To.Addr()):
		w.say("kernel", "a question that weft answers: left to weft")
		return true
	case protocolNumber(f) == 0:
	case slices.ContainsFunc(l.owned, owned):
		w.say("kernel", "%v is weft's: left to weft", f.To.Addr())
		return true
	case slices.Contains(l.forwarded, endpoint{protocolNumber(f), f.To}):
		w.say("kernel", "%s port %d is forwarded: left to weft", f.Protocol, f.To.Port())
		return true
	case f.Protocol != "icmp" && w.findSession(func(s nat.Session) bool { return s.External == f.To }) != nil:
		w.say("kernel", "%s port %d is one of NAT's: left to weft, unless a program of the host has it", f.Protocol, f.To.Port())
		return true
	}
	w.say("kernel", "nothing that weft claims: left to the host")
	return false
}

// serves reports whether a packet from a guest is for what weft serves at the gateway.
func (n *network) serves(f api.Flow) bool {
	if f.Protocol != "udp" || f.VLAN != 0 || n.gateway == nil || n.gateway.server == nil || !n.cfg.DHCP.Enabled {
		return false
	}
	to := f.To.Addr()
	ours := to.IsMulticast() || f.Dst == frame.Broadcast ||
		slices.ContainsFunc(n.cfg.Subnets, func(p netip.Prefix) bool { return p.Addr() == to })
	if to.Is6() {
		return ours && f.To.Port() == dhcp6.ServerPort
	}
	return ours && f.To.Port() == dhcp4.ServerPort && n.cfg.DHCP.Range.IsValid()
}

// service is what weft answers itself.
func (w *way) service() bool {
	if w.in.net.serves(w.flow) {
		w.once = "weft answers it"
		w.say("service", "taken by weft, which answers DHCP")
		return false
	}
	u := w.d.uplinkLocked(w.in.device)
	if w.in.kind == kindUplink && u != nil && u.proxy && w.flow.Protocol == "arp" && w.d.ownedLocked(w.flow.To.Addr()) {
		w.say("service", "taken by weft, which answers for %v", w.flow.To.Addr())
		return false
	}
	return true
}

// ownedLocked reports whether weft answers for an address on the wire.
func (d *Daemon) ownedLocked(a netip.Addr) bool {
	return slices.Contains(d.layer3.view.External, a) ||
		slices.ContainsFunc(d.layer3.view.Owned, func(p netip.Prefix) bool { return p.Contains(a) })
}
