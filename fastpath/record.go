package fastpath

import (
	"encoding/binary"

	"weft/frame"
)

func (r *record) is(f cacheFlag) bool { return r.Flags&uint16(f) != 0 }

// decide fills in a zero record for frames from in to out, but for what limits its use in time.
func (r *record) decide(d *frame.Decision, in, out *Port) {
	r.In, r.To = uint16(d.In), uint16(d.Out)
	r.Place, r.Out, r.Queue = in.place(), uint32(out.Index), uint32(in.Queue)
	r.Stations, r.Tag = stations(&d.Was), d.Was.Tag
	r.Mtu, r.Least = 1<<16-1, uint8(min(d.Least, 1<<8-1))
	if d.MTU > 0 {
		r.Mtu = uint16(min(d.MTU, 1<<16-1))
	}
	r.Session, r.Neighbor = d.Session, d.Neighbor
	r.Flags = uint16(way(in, out))
	if d.ByFlow {
		r.decideFlow(d, in)
	}
}

// way returns the flags of how frames go from in to out.
func way(in, out *Port) (f cacheFlag) {
	if in.Side == HostTAP {
		f |= cacheFlagASIDE
	}
	switch out.Side {
	case HostSide:
		return f | cacheFlagINTO | cacheFlagMARKED
	case HostTAP:
		return f | cacheFlagINTO
	}
	if out.Peer && in.atIngress() {
		return f | cacheFlagPEER
	}
	return f | cacheFlagMARKED
}

// decideFlow fills in what is of flows only.
func (r *record) decideFlow(d *frame.Decision, in *Port) {
	was, is := &d.Was, &d.Is
	r.Version = was.Version
	r.Was = cacheFlow{
		Source: address(was.SrcAddr), Destination: address(was.DstAddr), Ports: [2]uint16{be(was.SrcPort), be(was.DstPort)},
		Version: was.Version, Protocol: uint8(was.Protocol),
	}
	r.IsStations, r.IsPorts = stations(is), [2]uint16{be(is.SrcPort), be(is.DstPort)}
	r.IsSource, r.IsDestination = address(is.SrcAddr), address(is.DstAddr)
	flag := func(f cacheFlag, on bool) {
		if on {
			r.Flags |= uint16(f)
		}
	}
	flag(cacheFlagROUTED, d.Routed)
	flag(cacheFlagHOP, was.Hops != is.Hops)
	flag(cacheFlagREWRITE, *was != *is)
	flag(cacheFlagRENAME, was.SrcAddr != is.SrcAddr || was.DstAddr != is.DstAddr || was.SrcPort != is.SrcPort || was.DstPort != is.DstPort)
	flag(cacheFlagSESSION, d.Session != 0)
	flag(cacheFlagOUTSIDE, d.Outside)
	flag(cacheFlagSHARED, asksSockets(d, in))
	r.change(was, is)
	r.Group = uint16(mix(mix(uint64(was.Protocol), r.IsSource.Half[0]^r.IsSource.Half[1]), r.IsDestination.Half[0]^r.IsDestination.Half[1]) % uint64(cacheGroups))
}

// asksSockets reports whether the host's own sockets, and echo requests of its own, win over
// the decision.
func asksSockets(d *frame.Decision, in *Port) bool {
	return in.Shared && d.Session != 0 && d.Outside && !d.Forward
}

// change fills in the changes of checksums.
func (r *record) change(was, is *frame.Flow) {
	var header, pseudo, own frame.Change
	if r.is(cacheFlagRENAME) {
		half := func(a *[16]byte, i int) uint64 { return binary.BigEndian.Uint64(a[i:]) }
		if was.Version == 4 { // by one word of both addresses, as they stand in the packet
			both := func(f *frame.Flow) uint64 { return half(&f.SrcAddr, 8)<<32 | half(&f.DstAddr, 8)&(1<<32-1) }
			header = header.Words(both(was), both(is))
			pseudo = header
		} else {
			for i := 0; i < 16; i += 8 {
				pseudo = pseudo.Words(half(&was.SrcAddr, i), half(&is.SrcAddr, i)).Words(half(&was.DstAddr, i), half(&is.DstAddr, i))
			}
		}
		own = own.Word(was.SrcPort, is.SrcPort)
		switch was.Protocol {
		case frame.ProtocolTCP, frame.ProtocolUDP:
			own = own.Word(was.DstPort, is.DstPort)
		case frame.ProtocolICMP:
			pseudo = 0 // RFC 792: there is none
		}
	}
	if was.Hops != is.Hops {
		header = header.Word(1<<8, 0)
	}
	r.Header, r.Pseudo, r.Own = be(uint16(header)), be(uint16(pseudo)), be(uint16(own))
}

// be returns v as a machine word that lies in memory in the order of the network.
func be(v uint16) uint16 {
	var p [2]byte
	binary.BigEndian.PutUint16(p[:], v)
	return binary.NativeEndian.Uint16(p[:])
}

func address(a [16]byte) cacheAddress {
	return cacheAddress{Half: [2]uint64{binary.NativeEndian.Uint64(a[:]), binary.NativeEndian.Uint64(a[8:])}}
}

func (a *cacheAddress) bytes() (to [16]byte) {
	binary.NativeEndian.PutUint64(to[:], a.Half[0])
	binary.NativeEndian.PutUint64(to[8:], a.Half[1])
	return to
}

// stations returns the first twelve bytes of the flow's frames.
func stations(f *frame.Flow) (words [3]uint32) {
	var p [12]byte
	f.Dst.Put(p[:])
	f.Src.Put(p[6:])
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(p[4*i:])
	}
	return words
}

// macs is the inverse of stations.
func macs(words [3]uint32) (dst, src frame.MAC) {
	var p [12]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(p[4*i:], w)
	}
	return frame.MACFrom(p[:]), frame.MACFrom(p[6:])
}

// flows returns what the record's frames are and become, but for their hops.
func (r *record) flows() (was, is frame.Flow) {
	was.Dst, was.Src = macs(r.Stations)
	was.Tag = r.Tag
	is = was
	if r.Version == 0 {
		return was, is
	}
	was.Version, was.Protocol = r.Version, frame.Protocol(r.Was.Protocol)
	was.SrcAddr, was.DstAddr = r.Was.Source.bytes(), r.Was.Destination.bytes()
	was.SrcPort, was.DstPort = be(r.Was.Ports[0]), be(r.Was.Ports[1])
	is.Version, is.Protocol = was.Version, was.Protocol
	is.Dst, is.Src = macs(r.IsStations)
	is.SrcAddr, is.DstAddr = r.IsSource.bytes(), r.IsDestination.bytes()
	is.SrcPort, is.DstPort = be(r.IsPorts[0]), be(r.IsPorts[1])
	return was, is
}
