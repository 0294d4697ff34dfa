package nat

import "weft/frame"

// readFailure finds the flow that an ICMP error is about (RFC 5508 REQ-3): its checksum
// and that of the quoted IP header are right. That of the quoted transport header is not
// looked at, as what it covers may be cut off.
func (k *packet) readFailure(b *frame.Buf, h frame.ICMP) frame.Reason {
	l, p := &b.Layers, b.Bytes()
	if l.Version == 4 && h.Type() == frame.ICMPRedirect {
		return frame.DropNATUnsupported // it is about the sender's own link
	}
	q := l.Quoted(p[:int(l.L4)+len(h)])
	if !partial(b) && failureSum(l, p, h) != 0xffff ||
		q.L4 == 0 || q.Version == 4 && !frame.IPv4(p[q.L3:]).ChecksumValid() {
		return frame.DropNATInvalid
	}
	src, dst := addresses(&q, p)
	var ok bool
	if k.proto, ok = protoOf(q.Protocol); !ok || src != k.dst.address {
		return frame.DropNATInvalid
	}
	k.message, k.sender, k.quoted = failure, k.src.address, q
	k.flow = flow{k.proto, endpoint{dst, q.DstPort}, endpoint{src, q.SrcPort}}
	return 0
}

// partial reports whether the checksum of an ICMP message is yet to be completed.
func partial(b *frame.Buf) bool {
	return b.Offload.NeedsCsum && b.Offload.CsumStart == b.Layers.L4
}

// failureSum returns the sum over an ICMP message, and its pseudo-header if it has one.
func failureSum(l *frame.Layers, p, h []byte) uint16 {
	if l.Version == 4 {
		return frame.Sum(h, 0)
	}
	return frame.Sum(h, frame.IPv6(p[l.L3:]).PseudoSum(frame.ProtocolICMPv6, len(h)))
}

// fail translates an ICMP error the way of the packets that would answer what it quotes.
// It changes no session (RFC 4787 REQ-12, RFC 5382 REQ-10, RFC 5508 REQ-6), and goes
// about none but an existing one (RFC 5508 REQ-4, REQ-5).
func (t *Table) fail(b *frame.Buf, k *packet, w way) (ours bool, why frame.Reason) {
	is := k.flow
	sender := k.sender
	if w.inside() {
		s := t.sessionOutward(t.findHost(w.realm, w.pool, is.src.address), &is)
		if s == nil {
			return w.lost(frame.DropNATInvalid)
		}
		t.externalEnd(s, &is)
		// RFC 5508 REQ-5 c: whoever inside sent it, outside it is from the NAT.
		sender = is.src.address
	}
	if w.back {
		s := t.sessionInward(t.findExternal(is.dst.address), &is)
		if s == nil {
			return false, 0
		}
		t.internalEnd(s, &is)
	}
	k.rewriteFailure(b, sender, &is)
	return true, 0
}

// rewriteFailure makes an ICMP error, with what it quotes, one that answers packets of
// the flow is.
func (k *packet) rewriteFailure(b *frame.Buf, sender address, is *flow) {
	quoted := *b
	quoted.Layers, quoted.Offload = k.quoted, frame.Offload{}
	was, now := k.flow.reply(), is.reply()
	rewrite(&quoted, &was, &now)

	l, p := &b.Layers, b.Bytes()
	pseudo := putAddresses(l, p, sender, is.dst.address)
	if partial(b) {
		b.AdjustTransport(pseudo, 0)
		return
	}
	h := p[l.L4:end(l, p)]
	putWord(h[2:], 0)
	putWord(h[2:], ^failureSum(l, p, h))
}
