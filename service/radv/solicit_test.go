package radv_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/service/radv"
)

func solicitation(from frametest.End, options ...byte) []byte {
	p := frametest.Ping(from, routers, 0, 0)[:14+40]
	p[14+7] = 255
	p = append(p, 133, 0, 0, 0, 0, 0, 0, 0)
	return summed(append(p, options...))
}

// summed returns the frame with payload length and checksum set right.
func summed(p []byte) []byte {
	h := frame.IPv6(p[14:])
	h.SetPayloadLen(len(p) - 14 - 40)
	m := p[14+40:]
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], ^frame.Sum(m, h.PseudoSum(frame.ProtocolICMPv6, len(m))))
	return p
}

// RFC 4861 6.1.1.
func TestBadSolicitationIsIgnored(t *testing.T) {
	edited := func(at int, v byte) []byte {
		p := solicitation(guest)
		p[at] = v
		return p
	}
	for name, p := range map[string][]byte{
		"hop limit":                edited(14+7, 64),
		"checksum":                 edited(14+40+3, 0x55),
		"code":                     summed(edited(14+40+1, 1)),
		"too short":                summed(solicitation(guest)[:14+40+7]),
		"option length 0":          solicitation(guest, 1, 0, 0, 0, 0, 0, 0, 0),
		"option beyond the end":    solicitation(guest, 1, 2, 0, 0, 0, 0, 0, 0),
		"option cut short":         solicitation(guest, 1, 1, 0, 0),
		"SLLAO of nobody":          solicitation(nobody, 1, 1, 0x52, 0x54, 0, 0, 0, 1),
		"from a group":             solicitation(allNodes),
		"cut short":                solicitation(guest)[:14+40+4],
		"longer than its frame":    edited(14+5, 9),
		"neighbor solicitation":    summed(edited(14+40, 135)),
		"IPv4":                     frametest.Ping(frametest.Station(1), frametest.Station(2), 1, 1),
		"behind an options header": optioned(),
		"no frame at all":          nil,
		"behind a fragment header": fragmented(),
	} {
		r, now := settled(t, plain())
		next := r.Next()
		if err := r.Solicit(now, p); err == nil || r.Next() != next {
			t.Errorf("%s: %v, next advertisement after %v", name, err, r.Next().Sub(now))
		}
	}
}

func optioned() []byte {
	p := slices.Insert(solicitation(guest), 14+40, 58, 0, 1, 4, 0, 0, 0, 0)
	p[14+6] = 60
	p[14+5] += 8
	return p
}

func fragmented() []byte {
	p := slices.Insert(solicitation(guest), 14+40, 58, 0, 0, 0, 0, 0, 0, 1)
	p[14+6] = 44
	p[14+5] += 8
	return p
}

// What is accepted gets one answer, nothing else any.
func FuzzSolicit(f *testing.F) {
	f.Add(solicitation(guest, 1, 1, 0x52, 0x54, 0, 0, 0, 1))
	f.Add(solicitation(nobody))
	f.Add(optioned())
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := radv.New(start, plain(), rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		r.Poll(start)
		next := r.Next()
		if r.Solicit(start, p) != nil {
			if r.Next() != next {
				t.Errorf("ignored, but answered: %x", p)
			}
			return
		}
		if frames := r.Poll(r.Next()); len(frames) != 1 {
			t.Errorf("%d answers to %x", len(frames), p)
		}
	})
}
