package nat

import "weft/frame"

// readFailure finds the flow that an ICMP error is about (RFC 5508 REQ-3): its checksum
// and that of the quoted IP header are right. That of the quoted transport header is not
// looked at, as what it covers may be cut off.
func (k *packet) readFailure(h frame.ICMP) frame.Reason {
	b := k.buf
	l, p := &b.Layers, b.Bytes()
	if l.Version == 4 && h.Type() == frame.ICMPRedirect {
		return frame.DropNATUnsupported // it is about the sender's own link
	}
	message := p[:int(l.L4)+len(h)]
	q := l.Quoted(message)
	if !partial(b) && failureSum(l, p, h) != 0xffff ||
		q.L4 == 0 || q.Version == 4 && !frame.IPv4(p[q.L3:]).ChecksumValid() {
		return frame.DropNATInvalid
	}
	src, dst := addresses(&q, p)
	about, ok := protoOf(q.Protocol)
	if !ok || src != k.was.dst.address || about == icmp && !q.IsEcho(message) {
		return frame.DropNATInvalid
	}
	k.message, k.sender, k.quoted = failure, k.was.src.address, q
	k.was = flow{about, endpoint{dst, q.DstPort}, endpoint{src, q.SrcPort}}
	k.is = k.was
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
func (t *Table) fail(k *packet) (ours bool, why frame.Reason) {
	if k.inside {
		i := t.sessionOutward(k.realm, k.pool, &k.is)
		if i == 0 {
			return k.lost(frame.DropNATInvalid)
		}
		t.externalEnd(t.sessions.at(i), &k.is)
		// RFC 5508 REQ-5 c: whoever inside sent it, outside it is from the NAT.
		k.sender = k.is.src.address
	}
	if k.back {
		i := t.sessionInward(t.findExternal(k.is.dst.address), &k.is)
		if i == 0 {
			return false, 0
		}
		t.internalEnd(t.sessions.at(i), &k.is)
	}
	k.rewriteFailure()
	return true, 0
}

// rewriteFailure makes an ICMP error, with what it quotes, one that answers packets of
// the new flow.
func (k *packet) rewriteFailure() {
	quoted := *k.buf
	quoted.Layers, quoted.Offload = k.quoted, frame.Offload{}
	was, is := k.was.reply(), k.is.reply()
	rewrite(&quoted, &was, &is)

	l, p := &k.buf.Layers, k.buf.Bytes()
	pseudo := putAddresses(l, p, k.sender, k.is.dst.address)
	if partial(k.buf) {
		k.buf.AdjustTransport(pseudo, 0)
		return
	}
	h := p[l.L4:end(l, p)]
	putWord(h[2:], 0)
	putWord(h[2:], ^failureSum(l, p, h))
}
