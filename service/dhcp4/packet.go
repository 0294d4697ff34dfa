package dhcp4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A packet is a message seen from its fixed fields on (RFC 2131 2), at least fixedLen
// bytes.
//
//	0    1       2      3      4     8      10      12       16       20       24       28        44      108    236
//	| op | htype | hlen | hops | xid | secs | flags | ciaddr | yiaddr | siaddr | giaddr | chaddr  | sname | file | cookie | options
type packet []byte

// Where fields lie, in bytes.
const (
	xidAt     = 4
	flagsAt   = 10
	ciaddrAt  = 12
	yiaddrAt  = 16
	giaddrAt  = 24
	chaddrAt  = 28
	snameAt   = 44
	fileAt    = 108
	cookieAt  = 236
	fixedLen  = 240
	minPacket = 300 // RFC 1542 2.1: what some relay agents and clients want at least
)

const (
	bootRequest = 1
	bootReply   = 2
	ethernet    = 1 // htype
	macLen      = 6 // hlen of Ethernet

	cookie    = 0x63825363
	broadcast = 0x8000 // the flag
)

// address returns an address field, or the zero Addr if it is 0.0.0.0.
func address(b []byte) netip.Addr {
	a := netip.AddrFrom4([4]byte(b))
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func (p packet) flags() uint16 { return binary.BigEndian.Uint16(p[flagsAt:]) }

// setAddress writes an address field. The zero Addr is 0.0.0.0.
func (p packet) setAddress(at int, a netip.Addr) { copy(p[at:at+4], a.AsSlice()) }

// A code says what an option is: RFC 2132, RFC 3442, RFC 3397, RFC 3046, RFC 4702.
type code uint8

// The options that this server reads or writes.
const (
	optPad           code = 0
	optSubnetMask    code = 1
	optRouter        code = 3
	optDNS           code = 6
	optHostName      code = 12
	optDomain        code = 15
	optMTU           code = 26
	optBroadcast     code = 28
	optNTP           code = 42
	optRequested     code = 50
	optLeaseTime     code = 51
	optOverload      code = 52
	optMessageType   code = 53
	optServer        code = 54
	optParameterList code = 55
	optMessage       code = 56
	optMaxSize       code = 57
	optRenewal       code = 58 // T1
	optRebinding     code = 59 // T2
	optClientID      code = 61
	optFQDN          code = 81
	optRelayAgent    code = 82
	optSearch        code = 119
	optRoutes        code = 121
	optEnd           code = 255
)

// The values of option overload (RFC 2132 9.3), which add up.
const (
	overloadFile  = 1
	overloadSname = 2
)

// options are the options of a message by their codes. One that came in several parts
// is in one piece (RFC 3396).
type options map[code][]byte

// read adds the options of one field. It ends at the end option or the field's end, as
// some clients leave the end out.
func (o options) read(field []byte) error {
	for len(field) > 0 {
		c := code(field[0])
		if field = field[1:]; c == optPad {
			continue
		}
		if c == optEnd {
			return nil
		}
		if len(field) == 0 || len(field)-1 < int(field[0]) {
			return fmt.Errorf("option %d is cut off", c)
		}
		n := int(field[0])
		o[c] = append(o[c], field[1:1+n]...)
		field = field[1+n:]
	}
	return nil
}

// readAll reads the options of a packet, and of the fields that overload says
// (RFC 2131 4.1: first options, then file, then sname).
func (p packet) readAll() (options, error) {
	o := make(options)
	err := o.read(p[fixedLen:])
	if overload := o[optOverload]; len(overload) == 1 {
		if err == nil && overload[0]&overloadFile != 0 {
			err = o.read(p[fileAt:cookieAt])
		}
		if err == nil && overload[0]&overloadSname != 0 {
			err = o.read(p[snameAt:fileAt])
		}
	}
	return o, err
}

// An option is one to be written.
type option struct {
	code  code
	value []byte
}

// len returns how many bytes the option takes. One of more than 255 is several
// (RFC 3396).
func (o option) len() int { return len(o.value) + 2*max(1, (len(o.value)+254)/255) }

// append writes the option behind what is in a field already.
func (o option) append(field []byte) []byte {
	rest := o.value
	for {
		n := min(len(rest), 255)
		field = append(append(field, byte(o.code), byte(n)), rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return field
		}
	}
}
