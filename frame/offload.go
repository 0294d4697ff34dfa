package frame

import "encoding/binary"

// VirtioLen is the length in bytes of the virtio-net header with num_buffers
// (virtio 1.2, 5.1.6): flags, gso_type, hdr_len, gso_size, csum_start,
// csum_offset, num_buffers, little endian.
const VirtioLen = 12

// Features says which offloads a device takes on itself, so that a frame may be
// handed to it with that work still to do.
type Features uint8

// The features, in the sense of TUN_F_* and VIRTIO_NET_F_HOST_*.
const (
	FeatureCsum   Features = 1 << iota // complete a partial checksum
	FeatureTSO4                        // segment TCP over IPv4
	FeatureTSO6                        // segment TCP over IPv6
	FeatureTSOECN                      // keep CWR right while doing so
	FeatureUSO                         // segment UDP over IPv4 and IPv6
)

// A GSO is the kind of segmentation a superframe still needs.
type GSO uint8

// The kinds, with the numbers of virtio 1.2, 5.1.6 (VIRTIO_NET_HDR_GSO_*).
const (
	GSONone  GSO = 0
	GSOTCPv4 GSO = 1
	GSOTCPv6 GSO = 4
	GSOUDP   GSO = 5 // UDP_L4: many datagrams, not one fragmented (UFO)
)

const (
	flagNeedsCsum = 1
	flagDataValid = 2
	gsoECN        = 0x80
)

// An Offload is the work on a frame that its sender left to the device: what a
// virtio-net header says. The zero value says that the frame is complete.
type Offload struct {
	NeedsCsum bool // the checksum of bytes from CsumStart on is to be stored at CsumStart+CsumOffset
	DataValid bool // the checksum was verified; a hint that no wire may rely on
	GSO       GSO
	ECN       bool // TCP superframe with CWR set, which belongs to the first segment only

	HdrLen     uint16 // length of the headers; a hint, never trusted
	SegSize    uint16 // payload bytes of each segment but the last
	CsumStart  uint16 // from the start of the frame
	CsumOffset uint16 // from CsumStart
}

// Decode reads a virtio-net header of at least ten bytes. It does not judge it:
// see Buf.CheckOffload.
func (o *Offload) Decode(h []byte) {
	_ = h[9]
	// Most frames carry nothing: one load instead of seven.
	if binary.LittleEndian.Uint64(h) == 0 {
		*o = Offload{}
		return
	}
	*o = Offload{
		NeedsCsum: h[0]&flagNeedsCsum != 0,
		DataValid: h[0]&flagDataValid != 0,
		GSO:       GSO(h[1] &^ gsoECN),
		ECN:       h[1]&gsoECN != 0,
		HdrLen:    binary.LittleEndian.Uint16(h[2:]),
		SegSize:   binary.LittleEndian.Uint16(h[4:]),
	}
	if o.NeedsCsum { // else the two mean nothing
		o.CsumStart = binary.LittleEndian.Uint16(h[6:])
		o.CsumOffset = binary.LittleEndian.Uint16(h[8:])
	}
}

// Encode writes the offload as a virtio-net header of VirtioLen bytes.
func (o Offload) Encode(h []byte) {
	_ = h[VirtioLen-1]
	clear(h[:VirtioLen])
	h[10] = 1 // num_buffers
	if o == (Offload{}) {
		return
	}
	if o.NeedsCsum {
		h[0] |= flagNeedsCsum
	}
	if o.DataValid {
		h[0] |= flagDataValid
	}
	h[1] = uint8(o.GSO)
	if o.ECN {
		h[1] |= gsoECN
	}
	binary.LittleEndian.PutUint16(h[2:], o.HdrLen)
	binary.LittleEndian.PutUint16(h[4:], o.SegSize)
	binary.LittleEndian.PutUint16(h[6:], o.CsumStart)
	binary.LittleEndian.PutUint16(h[8:], o.CsumOffset)
}

// Carries reports whether a device with features f can take a frame with offload
// o as it is; if not, it must be segmented or completed first.
func (f Features) Carries(o Offload) bool {
	if o.NeedsCsum && f&FeatureCsum == 0 {
		return false
	}
	switch o.GSO {
	case GSONone:
		return true
	case GSOTCPv4:
		return f&FeatureTSO4 != 0 && (!o.ECN || f&FeatureTSOECN != 0)
	case GSOTCPv6:
		return f&FeatureTSO6 != 0 && (!o.ECN || f&FeatureTSOECN != 0)
	case GSOUDP:
		return f&FeatureUSO != 0
	}
	return false
}
