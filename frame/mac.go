package frame

import (
	"encoding/binary"
	"fmt"
	"net"
)

// A MAC is an EUI-48 address in the low 48 bits of one machine word, so that it
// compares, hashes and serves as a table key without a copy.
type MAC uint64

// Broadcast is the all-ones group address.
const Broadcast MAC = 0xffff_ffff_ffff

// MACFrom reads the address in the first six bytes of b.
func MACFrom(b []byte) MAC {
	_ = b[5]
	return MAC(binary.BigEndian.Uint32(b))<<16 | MAC(binary.BigEndian.Uint16(b[4:]))
}

// ParseMAC reads an EUI-48 address in any of the forms of net.ParseMAC.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return 0, fmt.Errorf("%q is not a MAC address (want six bytes such as 52:54:00:12:34:56)", s)
	}
	return MACFrom(hw), nil
}

// Put writes the address to the first six bytes of b.
func (m MAC) Put(b []byte) {
	_ = b[5]
	binary.BigEndian.PutUint32(b, uint32(m>>16))
	binary.BigEndian.PutUint16(b[4:], uint16(m))
}

// IsGroup reports the individual/group bit: multicast and broadcast addresses.
func (m MAC) IsGroup() bool { return m>>40&1 == 1 }

// IsReserved reports an address of the block 01-80-C2-00-00-00 to -0F, which a
// bridge never relays (IEEE 802.1Q 8.6.3, table 8-1).
func (m MAC) IsReserved() bool { return m&^0xf == 0x0180_c200_0000 }

// String formats the address as 52:54:00:12:34:56.
func (m MAC) String() string {
	var b [6]byte
	m.Put(b[:])
	return net.HardwareAddr(b[:]).String()
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(text []byte) error {
	v, err := ParseMAC(string(text))
	if err == nil {
		*m = v
	}
	return err
}
