package frametest

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
)

// A Superframe describes a frame as a guest's driver hands it to a device that
// segments: one long packet with a partial checksum. Src, Dst, GSO, Len and
// SegSize suffice.
type Superframe struct {
	Src, Dst End
	GSO      frame.GSO // GSONone: a frame that only lacks its checksum
	UDP      bool      // for GSONone: a UDP datagram, not a TCP segment
	ECN      bool
	Len      int // bytes of payload
	SegSize  uint16

	Tags      []frame.VID // the last one outermost; of two, that is an S-TAG
	ID        uint16      // IPv4 identification
	Extension bool        // IPv6 destination options
	Flags     uint8       // TCP control bits
	Seq       uint32
	Options   []layers.TCPOption
}

// Timestamp is the TCP option that most segments carry (RFC 7323), with padding.
func Timestamp() []layers.TCPOption {
	return []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
	}
}

// Buf returns the superframe in a new Buf.
func (s Superframe) Buf() *frame.Buf {
	b := frame.NewBufs(1)[0]
	b.SetBytes(s.Bytes())
	b.Offload = s.Offload()
	return b
}

// Bytes returns the frame.
func (s Superframe) Bytes() []byte {
	proto := s.protocol()
	ls := []gopacket.SerializableLayer{network(s.Src, s.Dst, proto)}
	switch ip := ls[0].(type) {
	case *layers.IPv4:
		ip.Id, ip.TOS = s.ID, 2 // ECT(0)
	case *layers.IPv6:
		if s.Extension {
			ip.NextHeader = layers.IPProtocolIPv6Destination
			ls = append(ls, gopacket.Payload{byte(proto), 0, 1, 4, 0, 0, 0, 0}) // PadN
		}
	}
	ls = append(ls, s.transport(), gopacket.Payload(Payload(s.Len)))
	p := between(s.Src, s.Dst, ls...)
	for i, vid := range s.Tags {
		tpid := frame.EtherTypeCTag
		if i > 0 {
			tpid = frame.EtherTypeSTag
		}
		p = Tagged(p, tpid, vid, 3)
	}
	h := p[s.csumStart():]
	binary.BigEndian.PutUint16(h[s.csumOffset():], pseudoSum(s.Src.Addr, s.Dst.Addr, byte(proto), len(h)))
	return p
}

// Offload returns what the virtio-net header says of the frame.
func (s Superframe) Offload() frame.Offload {
	o := frame.Offload{NeedsCsum: true, CsumStart: s.csumStart(), CsumOffset: s.csumOffset()}
	if s.GSO != frame.GSONone {
		o.GSO, o.ECN, o.SegSize = s.GSO, s.ECN, s.SegSize
		o.HdrLen = uint16(len(s.Bytes()) - s.Len)
	}
	return o
}

// String names the superframe as a test's name does.
func (s Superframe) String() string {
	return fmt.Sprintf("%v %d/%d", s.protocol(), s.Len, s.SegSize)
}

func (s Superframe) protocol() layers.IPProtocol {
	if s.GSO == frame.GSOUDP || s.GSO == frame.GSONone && s.UDP {
		return layers.IPProtocolUDP
	}
	return layers.IPProtocolTCP
}

func (s Superframe) csumStart() uint16 {
	n := frame.EthernetLen + len(s.Tags)*frame.TagLen + 20
	if s.Src.Addr.Is6() {
		n += 20
		if s.Extension {
			n += 8
		}
	}
	return uint16(n)
}

func (s Superframe) csumOffset() uint16 {
	if s.protocol() == layers.IPProtocolUDP {
		return 6
	}
	return 16
}

func (s Superframe) transport() gopacket.SerializableLayer {
	if s.protocol() == layers.IPProtocolUDP {
		return &layers.UDP{SrcPort: layers.UDPPort(s.Src.Port), DstPort: layers.UDPPort(s.Dst.Port)}
	}
	return &layers.TCP{
		SrcPort: layers.TCPPort(s.Src.Port), DstPort: layers.TCPPort(s.Dst.Port),
		Seq: s.Seq, Ack: 1, Window: 0xffff, Options: s.Options,
		ACK: true, FIN: s.Flags&frame.TCPFin != 0, PSH: s.Flags&frame.TCPPsh != 0, CWR: s.Flags&frame.TCPCwr != 0,
	}
}
