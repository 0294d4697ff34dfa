package frame

import (
	"encoding/binary"
	"fmt"
)

const (
	// EthernetLen is the length in bytes of an untagged Ethernet header.
	EthernetLen = 14
	// TagLen is the length in bytes of one IEEE 802.1Q tag.
	TagLen = 4
	// MinLen is the length in bytes to which a frame for a wire is padded, without FCS.
	MinLen = 60

	typeAt = 12 // offset of the EtherType or of the first tag's TPID
)

// An EtherType says what an Ethernet frame carries. Values below 0x600 are the
// length of an LLC frame (IEEE 802.3 3.2.6).
type EtherType uint16

// The EtherTypes that the switch knows.
const (
	EtherTypeIPv4 EtherType = 0x0800
	EtherTypeARP  EtherType = 0x0806
	EtherTypeCTag EtherType = 0x8100 // customer VLAN tag
	EtherTypeIPv6 EtherType = 0x86dd
	EtherTypeSTag EtherType = 0x88a8 // service VLAN tag
)

// IsTag reports whether the value is the TPID of a VLAN tag (IEEE 802.1Q table 9-1).
func (t EtherType) IsTag() bool { return t == EtherTypeCTag || t == EtherTypeSTag }

// String formats the value as its name, or as 0x88cc.
func (t EtherType) String() string {
	switch t {
	case EtherTypeIPv4:
		return "IPv4"
	case EtherTypeARP:
		return "ARP"
	case EtherTypeCTag:
		return "C-TAG"
	case EtherTypeIPv6:
		return "IPv6"
	case EtherTypeSTag:
		return "S-TAG"
	}
	return fmt.Sprintf("%#04x", uint16(t))
}

// Ethernet is a frame seen from its header on (IEEE 802.3 3.1.1), at least
// EthernetLen bytes.
type Ethernet []byte

// Dst returns the destination address.
func (h Ethernet) Dst() MAC { return MACFrom(h) }

// Src returns the source address.
func (h Ethernet) Src() MAC { return MACFrom(h[6:]) }

// Type returns the EtherType, which is a TPID if the frame is tagged.
func (h Ethernet) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[typeAt:])) }

// HeaderLen returns the length in bytes of the header with at most two tags: what
// lies in front of the packet that an MTU speaks of.
func (h Ethernet) HeaderLen() int {
	at := typeAt
	for range maxTags {
		if !EtherType(binary.BigEndian.Uint16(h[at:])).IsTag() || len(h) < at+TagLen+2 {
			break
		}
		at += TagLen
	}
	return at + 2
}

// Tag is a VLAN tag (IEEE 802.1Q 9.5): TPID and TCI, TagLen bytes.
type Tag []byte

// TPID returns the tag protocol identifier.
func (h Tag) TPID() EtherType { return EtherType(binary.BigEndian.Uint16(h)) }

// VID returns the VLAN identifier. Zero: the tag carries a priority only.
func (h Tag) VID() VID { return VID(binary.BigEndian.Uint16(h[2:]) & 0xfff) }

// PCP returns the priority code point.
func (h Tag) PCP() uint8 { return h[2] >> 5 }
