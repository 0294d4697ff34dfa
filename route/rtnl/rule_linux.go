package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What a rule does, from linux/fib_rules.h, where the library has it not.
const (
	ruleLookup = 1
	ruleGoto   = 2
	ruleInvert = 2 // a flag
	anyLength  = 0xffffffff
)

// readRule reads a fib_rule_hdr. It is false for the usual rules, which look into the
// tables local, main and default for each packet.
func readRule(m []byte) (Rule, bool) {
	if len(m) < unix.SizeofRtMsg {
		return Rule{}, false
	}
	r := Rule{Family: IPv4}
	switch m[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		r.Family = IPv6
	default:
		return Rule{}, false
	}
	table := uint32(m[4])
	does := actions[m[7]]
	from, when := "all", ""
	if m[3] != 0 {
		when = fmt.Sprintf(" tos %#02x", m[3])
	}
	for t, v := range attributes(m[unix.SizeofRtMsg:]) {
		switch t {
		case nl.FRA_PRIORITY:
			r.Priority = int(number(v))
		case nl.FRA_TABLE:
			table = number(v)
		case nl.FRA_GOTO:
			does = fmt.Sprintf("goto %d", number(v))
		case nl.FRA_L3MDEV:
			does = "lookup of the VRF's table"
		case nl.FRA_SRC:
			from = netip.PrefixFrom(address(v), int(m[2])).String()
		default:
			when += condition(t, v, int(m[1]))
		}
	}
	if does == "" {
		does = "lookup " + tableName(table)
	}
	usual := m[7] == ruleLookup && table >= unix.RT_TABLE_DEFAULT && table <= unix.RT_TABLE_LOCAL
	if from+when == "all" && number(m[8:])&ruleInvert == 0 && usual {
		return Rule{}, false
	}
	r.Text = fmt.Sprintf("from %s%s %s", from, when, does)
	if number(m[8:])&ruleInvert != 0 {
		r.Text = "not " + r.Text
	}
	return r, true
}

// actions are those other than a look-up, whose table is told apart.
var actions = map[byte]string{
	ruleGoto: "goto", 3: "nop", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit",
}

// condition describes one more thing that a packet must have.
func condition(t uint16, v []byte, bits int) string {
	switch t {
	case nl.FRA_DST:
		return fmt.Sprintf(" to %s", netip.PrefixFrom(address(v), bits))
	case nl.FRA_IIFNAME:
		return " iif " + text(v)
	case nl.FRA_OIFNAME:
		return " oif " + text(v)
	case nl.FRA_FWMARK:
		return fmt.Sprintf(" fwmark %#x", number(v))
	case nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP:
		if number(v) != anyLength {
			return " with a suppressor"
		}
	case nl.FRA_IP_PROTO:
		if len(v) == 1 {
			return fmt.Sprintf(" ipproto %d", v[0])
		}
	case nl.FRA_SPORT_RANGE:
		return " sport " + ports(v)
	case nl.FRA_DPORT_RANGE:
		return " dport " + ports(v)
	case nl.FRA_TUN_ID:
		return " of a tunnel"
	case nl.FRA_UID_RANGE:
		return " by user"
	}
	return ""
}

// ports reads a fib_rule_port_range.
func ports(b []byte) string {
	if len(b) < 4 {
		return "?"
	}
	return fmt.Sprintf("%d-%d", binary.NativeEndian.Uint16(b), binary.NativeEndian.Uint16(b[2:]))
}

func tableName(table uint32) string {
	switch table {
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return fmt.Sprint(table)
}
