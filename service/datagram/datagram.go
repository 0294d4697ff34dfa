// Package datagram builds the Ethernet frames of UDP datagrams that weft itself sends:
// RFC 768 in RFC 791 or RFC 8200.
package datagram

import (
	"net/netip"

	"weft/frame"
)

// An Endpoint is one end of a datagram.
type Endpoint struct {
	MAC  frame.MAC
	Addr netip.AddrPort
}

// Frame returns the complete frame, checksums computed, unpadded. Both addresses are of
// one family.
func Frame(from, to Endpoint, payload []byte) []byte { return nil }
