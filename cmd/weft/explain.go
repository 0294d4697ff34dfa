package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/frame"
	"weft/internal/control/api"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain PORT 'FRAME'",
		Short: "Show the way that a frame would take, stage by stage",
		Long: `Show the way that a frame received from PORT would take, stage by stage, with the flow
cache last. Nothing is sent, and nothing changes. FRAME is

  [src MAC] [dst MAC] [vlan VID] [tcp|udp|icmp|arp FROM > TO]

FROM and TO are addresses, of tcp and udp with ports; icmp is an echo request, arp asks for TO.
Without src it comes from the station at PORT; without dst it goes where a guest would send it,
to the gateway or to the station that has TO.`,
		Example: `  weft explain vm1 'tcp 192.168.150.10:4000 > 198.51.100.1:443'
  weft explain vm1 'src 52:54:00:00:00:01 dst 52:54:00:00:00:02'
  weft explain eth0:wire 'udp 198.51.100.1:53 > 192.0.2.5:49152'`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: first(a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			flow, err := parseFrame(strings.Fields(strings.Join(args[1:], " ")))
			if err != nil {
				return err
			}
			way, err := a.client().Explain(cmd.Context(), api.Explain{Port: args[0], Flow: flow})
			if err != nil {
				return err
			}
			return write(a, way, wayTable)
		},
	}
}

func wayTable(w io.Writer, way api.Explained) {
	for _, s := range way.Steps {
		row(w, s.Stage, s.Says)
	}
}

// parseFrame reads the words of a frame's description.
func parseFrame(words []string) (f api.Flow, err error) {
	said := map[string]bool{}
	for len(words) > 0 && err == nil {
		key := words[0]
		if said[key] {
			return f, usagef("%s is given twice", key)
		}
		said[key] = true
		switch {
		case key == "src" && len(words) > 1:
			f.Src, err = parseStation(words[1])
		case key == "dst" && len(words) > 1:
			f.Dst, err = frame.ParseMAC(words[1])
		case key == "vlan" && len(words) > 1:
			f.VLAN, err = parseVID(words[1])
		case isProtocol(key) && len(words) == 4 && words[2] == ">":
			f.Protocol = key
			f.From, f.To, err = parseEnds(key, words[1], words[3])
			return f, asUsage(err)
		default:
			return f, usagef("%q is no frame (want [src MAC] [dst MAC] [vlan VID] [tcp|udp|icmp|arp FROM > TO])", strings.Join(words, " "))
		}
		words = words[2:]
	}
	return f, asUsage(err)
}

func isProtocol(s string) bool { return s == "tcp" || s == "udp" || s == "icmp" || s == "arp" }

// asUsage makes err, if it is one, a fault of the command line.
func asUsage(err error) error {
	if err != nil {
		return usageError{err}
	}
	return nil
}

func parseStation(s string) (frame.MAC, error) {
	m, err := frame.ParseMAC(s)
	if err == nil && (m == 0 || m.IsGroup()) {
		err = fmt.Errorf("%s sends no frames (want the address of one station)", m)
	}
	return m, err
}

func parseVID(s string) (uint16, error) {
	vid, err := strconv.ParseUint(s, 10, 16)
	if err != nil || vid == 0 || vid > 4094 {
		return 0, fmt.Errorf("vlan %s: want 1 to 4094", s)
	}
	return uint16(vid), nil
}

// parseEnds reads the endpoints of a protocol's packet, of one family.
func parseEnds(protocol, from, to string) (f, t netip.AddrPort, err error) {
	read := func(s string) netip.AddrPort {
		e, err2 := netip.ParseAddrPort(s)
		if a, plain := netip.ParseAddr(s); plain == nil && (protocol == "icmp" || protocol == "arp") {
			e, err2 = netip.AddrPortFrom(a, 0), nil
		}
		if err == nil && (err2 != nil || e.Port() != 0 && protocol == "arp") {
			err = fmt.Errorf("%q: want %s", s, wantedEnd(protocol))
		}
		return netip.AddrPortFrom(e.Addr().WithZone(""), e.Port())
	}
	f, t = read(from), read(to)
	switch {
	case err != nil:
	case f.Addr().Is4() != t.Addr().Is4():
		err = fmt.Errorf("%s and %s are not of one family", from, to)
	case protocol == "arp" && !f.Addr().Is4():
		err = fmt.Errorf("%s: arp is for IPv4 (IPv6 has neighbor discovery, which is not explained)", from)
	}
	return f, t, err
}

// wantedEnd shows what a protocol's endpoints look like.
func wantedEnd(protocol string) string {
	switch protocol {
	case "icmp":
		return "an address such as 192.168.150.10, or with the query's identifier 192.168.150.10:77"
	case "arp":
		return "an address such as 192.168.150.10"
	}
	return "an address and a port such as 192.168.150.10:4000 or [fd00::10]:4000"
}
