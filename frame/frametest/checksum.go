package frametest

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/gopacket/layers"
)

// Checksums returns an error if a checksum of the frame's IPv4, TCP, UDP or ICMP
// header is not right and whole, or if there is none.
func Checksums(p []byte) error {
	var src, dst netip.Addr
	found := false
	check := func(name string, sum uint16) error {
		found = true
		if sum != 0xffff {
			return fmt.Errorf("%s checksum is wrong by %#04x", name, ^sum)
		}
		return nil
	}
	var err error
	for _, l := range Decode(p).Layers() {
		covered := append(append([]byte{}, l.LayerContents()...), l.LayerPayload()...)
		switch l := l.(type) {
		case *layers.IPv4:
			src, dst = netip.AddrFrom4([4]byte(l.SrcIP)), netip.AddrFrom4([4]byte(l.DstIP))
			err = check("IPv4 header", SlowSum(l.Contents))
		case *layers.IPv6:
			src, dst = netip.AddrFrom16([16]byte(l.SrcIP)), netip.AddrFrom16([16]byte(l.DstIP))
		case *layers.TCP:
			err = check("TCP", sumWithPseudo(src, dst, 6, covered))
		case *layers.UDP:
			if l.Checksum == 0 {
				return errors.New("UDP checksum is absent")
			}
			err = check("UDP", sumWithPseudo(src, dst, 17, covered))
		case *layers.ICMPv4:
			err = check("ICMP", SlowSum(covered))
		case *layers.ICMPv6:
			err = check("ICMPv6", sumWithPseudo(src, dst, 58, covered))
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return errors.New("no checksum in the frame")
	}
	return nil
}

// pseudoSum returns the sum of the pseudo-header, the slow obvious way.
func pseudoSum(src, dst netip.Addr, proto byte, n int) uint16 {
	h := append(src.AsSlice(), dst.AsSlice()...)
	return SlowSum(append(h, 0, proto, byte(n>>8), byte(n)))
}

func sumWithPseudo(src, dst netip.Addr, proto byte, packet []byte) uint16 {
	sum := pseudoSum(src, dst, proto, len(packet))
	return SlowSum(append([]byte{byte(sum >> 8), byte(sum)}, packet...))
}

// SlowSum returns the one's complement sum of p as RFC 1071 defines it.
func SlowSum(p []byte) uint16 {
	sum := 0
	for i, c := range p {
		if i%2 == 0 {
			sum += int(c) << 8
		} else {
			sum += int(c)
		}
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
