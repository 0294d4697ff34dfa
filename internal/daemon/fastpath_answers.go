package daemon

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
)

// Fastpath implements control.Engine.
func (d *Daemon) Fastpath(q api.FastpathQuery) (api.Fastpath, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fastpathLocked(q)
}

func (d *Daemon) fastpathLocked(q api.FastpathQuery) (api.Fastpath, error) {
	if _, ok := d.memberLocked(q.Port); !ok && q.Port != "" {
		return api.Fastpath{}, fmt.Errorf("port %s: %w", q.Port, control.ErrNotFound)
	}
	return api.Fastpath{Detail: "this weftd has none"}, nil
}

// FlushFastpath implements control.Engine.
func (d *Daemon) FlushFastpath() (int, error) { return 0, nil }

// flowAnswer returns a flow as the API has it. What is told by its stations has no
// addresses.
func flowAnswer(f frame.Flow) api.Flow {
	const vid = 0xfff
	a := api.Flow{Src: f.Src, Dst: f.Dst, VLAN: f.Tag & vid}
	switch f.Protocol {
	case 0:
		return a
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		a.Protocol = "icmp"
		f.DstPort = f.SrcPort // else the type
	default:
		a.Protocol = strings.ToLower(f.Protocol.String())
	}
	end := func(b [16]byte, port uint16) netip.AddrPort {
		if f.Version == 4 {
			return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
		}
		return netip.AddrPortFrom(netip.AddrFrom16(b), port)
	}
	a.From, a.To = end(f.SrcAddr, f.SrcPort), end(f.DstAddr, f.DstPort)
	return a
}
