// Package frame is the vocabulary of the switch: Ethernet frames as IEEE 802.3
// and 802.1Q lay them out, the headers inside them, checksums (RFC 1071, 1624),
// the offloads a virtio-net header describes (virtio 1.2, 5.1.6), and the
// reasons for which a frame is dropped.
package frame

import "fmt"

const (
	// Headroom is the space, in bytes, in front of a frame as it is received:
	// for a virtio-net header, tags and tunnel headers.
	Headroom = 128

	// MaxLen is the length, in bytes, of the longest frame a Buf holds: an IP
	// packet of 65,535 bytes behind an Ethernet header and two tags.
	MaxLen = 65535 + EthernetLen + 2*TagLen

	storeLen = Headroom + MaxLen + 64
	// Buffers of one slab are this far apart: no multiple of the page size, so
	// that the first lines of a batch do not fall into the same cache sets.
	stride = (storeLen+4095)/4096*4096 + 192
)

// A PortID names a bridge port inside one Switch. Zero names no port.
type PortID uint16

// A VID is an IEEE 802.1Q VLAN identifier. Zero: the frame belongs to no VLAN.
type VID uint16

// A Buf is one Ethernet frame and what the switch knows about it. The worker that
// received it owns it; stages and queues borrow it for one call.
//
//	store: |<-- headroom -->|<------- frame ------->|<- tailroom ->|
//	                        off                     end
type Buf struct {
	store    []byte
	off, end int

	In      PortID  // port of entry
	Out     PortID  // port of exit; zero: none or flooded
	VID     VID     // set at ingress; zero until VLANs are classified
	PCP     uint8   // priority code point, 0–7
	reason  Reason  // why the frame ends here; zero: it lives
	Offload Offload // checksum and segmentation still to do
	Layers  Layers  // what Parse found
	Basis   Basis   // what the decision on the frame rests on
	Came    Flow    // the frame as it came in, if the switch may remember what becomes of it
}

// NewBufs returns n empty Bufs over one slab of memory.
func NewBufs(n int) []*Buf {
	slab := make([]byte, n*stride)
	own := make([]Buf, n)
	bufs := make([]*Buf, n)
	for i := range bufs {
		own[i].store = slab[i*stride : i*stride+storeLen : i*stride+storeLen]
		own[i].off, own[i].end = Headroom, Headroom
		bufs[i] = &own[i]
	}
	return bufs
}

// Bytes returns the frame. It is valid until the Buf's next change of length.
func (b *Buf) Bytes() []byte { return b.store[b.off:b.end:b.end] }

// Len returns the frame's length in bytes.
func (b *Buf) Len() int { return b.end - b.off }

// Space clears the Buf for a new frame and returns the memory to receive it in,
// header bytes of device header in front. Received says how much came.
func (b *Buf) Space(header int) []byte {
	*b = Buf{store: b.store, off: Headroom, end: Headroom}
	return b.store[Headroom-header : Headroom+MaxLen]
}

// Received sets the frame's length after a device wrote n bytes of it (device
// header not counted) into Space.
func (b *Buf) Received(n int) { b.end = b.off + n }

// WithHeader returns the frame with header bytes of scratch in front of it, for a
// device that wants both in one write. The frame itself does not change.
func (b *Buf) WithHeader(header int) []byte { return b.store[b.off-header : b.end] }

// Prepend grows the frame by n bytes at its front and returns them.
func (b *Buf) Prepend(n int) []byte {
	if n > b.off {
		panic(fmt.Sprintf("frame: prepend %d bytes to a headroom of %d", n, b.off))
	}
	b.off -= n
	return b.store[b.off : b.off+n]
}

// TrimFront cuts n bytes off the front of the frame.
func (b *Buf) TrimFront(n int) {
	if n > b.Len() {
		panic(fmt.Sprintf("frame: trim %d bytes of a frame of %d", n, b.Len()))
	}
	b.off += n
}

// Resize changes the frame's length at its end. New bytes are not cleared.
func (b *Buf) Resize(n int) {
	if b.off+n > len(b.store) {
		panic(fmt.Sprintf("frame: resize to %d bytes, room for %d", n, len(b.store)-b.off))
	}
	b.end = b.off + n
}

// CopyFrom makes b a copy of the frame src and of all that is known about it.
func (b *Buf) CopyFrom(src *Buf) {
	store := b.store
	*b = *src
	b.store = store
	b.off = Headroom
	b.end = b.off + copy(store[Headroom:], src.Bytes())
}

// SetBytes makes b the frame p, of which nothing is known yet.
func (b *Buf) SetBytes(p []byte) { b.Received(copy(b.Space(0), p)) }

// Drop ends the frame's way for reason r. The first reason stays.
func (b *Buf) Drop(r Reason) {
	if b.reason == 0 {
		b.reason = r
	}
}

// Revive undoes Drop and returns the reason: what one port of exit refuses may be right
// for the next.
func (b *Buf) Revive() Reason {
	r := b.reason
	b.reason = 0
	return r
}

// Reason returns why the frame was dropped, or zero if it lives.
func (b *Buf) Reason() Reason { return b.reason }
