package route

import (
	"sync/atomic"
	"time"

	"weft/frame"
)

const (
	// maxQuoted is how many bytes of a packet an ICMPv6 error quotes at most; ICMP
	// errors quote less.
	maxQuoted = 1280 - ipv6Len - 8

	minMTU6 = 1280 // RFC 8200 5: no link has less, and no one believes it
)

// refuse ends the packet for a reason, and tells its sender, if that is one for which
// senders are told, and the rules allow it: RFC 1812 4.3.2.7, 4.3.2.8, 5.2.7; RFC 4443
// 2.4. The frame becomes the error, of which the switch takes a copy.
func (t *turn) refuse(b *frame.Buf, why frame.Reason, mtu int) {
	typ, code := codes(why, b.Layers.Version)
	from := t.in.source(b.Layers.Version)
	if typ != 0 && from.IsValid() && t.r.errors.allow(t.now, b.In) {
		if b.Layers.Version == 6 && mtu != 0 {
			mtu = max(mtu, minMTU6)
		}
		if frame.ICMPError(b, b, from, typ, code, uint32(mtu)) {
			t.r.inject(t.in.Port, b)
		}
	}
	b.Drop(why)
}

// tellTranslated tells the sender of a packet that it was lost behind interface t.in,
// where the translator led it: as if a router there did, the error goes back through
// the translator (RFC 5508 REQ-4, REQ-5). The frame becomes the error.
func (t *turn) tellTranslated(b *frame.Buf, why frame.Reason) {
	typ, code := codes(why, b.Layers.Version)
	from := t.in.source(b.Layers.Version)
	if t.in.Realm == 0 || !from.IsValid() || !t.r.errors.allow(t.now, b.In) || !frame.ICMPError(b, b, from, typ, code, 0) {
		return
	}
	_, dst := addresses(b)
	d := t.in.lookup(dst)
	switch {
	case d == nil:
		return
	case d.kind == local || d.kind == external: // of a guest that took the same way
		if d = t.translate(b, 0); d == nil {
			return
		}
		dst = t.memo.translated
	case d.kind != routed || !d.iface.Outside || t.masquerade(b, d.iface) != 0:
		return
	}
	if mac := t.known(b, d.iface, d.next(dst)); mac != 0 {
		t.ready(b, d.iface)
		t.r.address(b, d.iface, mac)
		t.r.inject(b.In, b)
	}
}

// codes returns type and code of the error that tells of a loss, or zero.
func codes(why frame.Reason, version uint8) (typ, code uint8) {
	switch why {
	case frame.DropTTLExpired:
		return pick(version, frame.ICMPTimeExceeded, 0, frame.ICMPv6TimeExceeded, 0)
	case frame.DropTooBig:
		return pick(version, frame.ICMPUnreachable, frame.CodeTooBig, frame.ICMPv6TooBig, 0)
	case frame.DropNoRoute:
		return pick(version, frame.ICMPUnreachable, frame.CodeNet, frame.ICMPv6Unreachable, frame.CodeNoRoute6)
	case frame.DropNoNeighbor:
		return pick(version, frame.ICMPUnreachable, frame.CodeHost, frame.ICMPv6Unreachable, frame.CodeAddress6)
	case frame.DropForbidden, frame.DropNATNoPort, frame.DropNATFull, frame.DropNATQuota: // RFC 5508 REQ-8
		return pick(version, frame.ICMPUnreachable, frame.CodeProhibited, frame.ICMPv6Unreachable, frame.CodeProhibited6)
	}
	return 0, 0
}

func pick(version, typ4, code4, typ6, code6 uint8) (typ, code uint8) {
	if version == 4 {
		return typ4, code4
	}
	return typ6, code6
}

const (
	errorInterval = 10 * time.Millisecond
	errorBurst    = 50
)

// A limiter bounds the errors that are sent (RFC 1812 4.3.2.8, RFC 4443 2.4 f): 100 a
// second and 50 at once to the senders behind one port of entry, so that none silences
// those of others. Ports share a bucket whose numbers are 64 apart.
type limiter struct {
	due [64]atomic.Int64 // when the bucket is full again
}

func (l *limiter) allow(now time.Duration, port frame.PortID) bool {
	due := &l.due[port%frame.PortID(len(l.due))]
	for {
		was := due.Load()
		next := max(was, int64(now)) + int64(errorInterval)
		if next-int64(now) > int64(errorBurst*errorInterval) {
			return false
		}
		if due.CompareAndSwap(was, next) {
			return true
		}
	}
}
