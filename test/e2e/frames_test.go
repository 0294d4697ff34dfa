package e2e

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"weft/frame"
	"weft/internal/control/api"
	"weft/test/lab"
)

// badGuest is a scene in which the test itself is the guest on port vm1, and may send
// what it likes, while two containers talk.
type badGuest struct {
	*house
	w      *lab.Weftd
	tap    *lab.TAP
	a      *lab.NS // station 13, at port ct1; station 14 is at ct2
	victim frame.MAC
	seen   *lab.Sniffer // at the victim, a's device
}

func newBadGuest(t *testing.T, ports string) *badGuest {
	t.Helper()
	h := newHouse(t)
	b := &badGuest{house: h, a: h.container("ct1", 13)}
	h.container("ct2", 14)
	b.w = h.hv.Weftd(twoContainers + ports)
	b.tap = h.hv.OpenTAP("vm1")
	b.w.Up("vm1", "ct1", "ct2")
	b.talks(b.a, 14) // the victim is learned
	b.victim = parseMAC(t, mac(13))
	b.seen = b.a.Sniff("eth0")
	return b
}

const evil frame.MAC = 0x0200_0000_0666

// ipv4 is an IPv4 UDP frame from src to dst with n bytes of IP packet.
func ipv4(dst, src frame.MAC, n int) []byte {
	f := make([]byte, frame.EthernetLen+n)
	dst.Put(f)
	src.Put(f[6:])
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[frame.EthernetLen:]
	if n >= 28 {
		ip[0], ip[8], ip[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(ip[2:], uint16(n))
		copy(ip[12:], []byte{10, 77, 0, 66, 10, 77, 0, 13})
		binary.BigEndian.PutUint16(ip[24:], uint16(n-20))
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:20]))
	}
	return f
}

// onesSum is the sum of RFC 1071, slow and obvious.
func onesSum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// header makes a virtio-net header out of its fields, true or not.
func header(flags, gso uint8, hdrLen, size, start, offset uint16) (h [frame.VirtioLen]byte) {
	h[0], h[1] = flags, gso
	binary.LittleEndian.PutUint16(h[2:], hdrLen)
	binary.LittleEndian.PutUint16(h[4:], size)
	binary.LittleEndian.PutUint16(h[6:], start)
	binary.LittleEndian.PutUint16(h[8:], offset)
	return h
}

// Frames that no honest guest sends are dropped and counted, by name, and nobody else
// notices. The kernel refuses some of them itself, before weft: that too is an answer.
func TestBadFramesAreCountedDrops(t *testing.T) {
	b := newBadGuest(t, "  - {name: vm1, network: lab}\n")
	var plain [frame.VirtioLen]byte
	for i, c := range []struct {
		name   string
		header [frame.VirtioLen]byte
		frame  func(src frame.MAC) []byte
		reason frame.Reason
		port   string // that counts the drop
	}{
		{"runt", plain, func(frame.MAC) []byte { return make([]byte, 10) }, frame.DropRunt, "vm1"},
		{"empty", plain, func(frame.MAC) []byte { return nil }, frame.DropRunt, "vm1"},
		{"oversize", plain, func(src frame.MAC) []byte { return ipv4(b.victim, src, 9000) }, frame.DropOversize, "ct1"},
		{"checksum starts past the end", header(1, 0, 0, 0, 2000, 6), b.small, frame.DropBadOffload, "vm1"},
		{"checksum lies past the end", header(1, 0, 0, 0, 34, 60000), b.small, frame.DropBadOffload, "vm1"},
		{"checksum in the Ethernet header", header(1, 0, 0, 0, 0, 6), b.small, frame.DropBadOffload, "vm1"},
		{"segments of 0 bytes", header(1, 1, 54, 0, 34, 16), b.large, frame.DropBadOffload, "vm1"},
		{"segments without checksum", header(0, 1, 54, 1448, 0, 0), b.large, frame.DropBadOffload, "vm1"},
		{"unknown type of segments", header(1, 9, 54, 1448, 34, 16), b.large, frame.DropBadOffload, "vm1"},
		{"TCP over IPv6 that is UDP over IPv4", header(1, 4, 54, 1448, 34, 16), b.large, frame.DropBadOffload, "vm1"},
		{"headers longer than the frame", header(1, 1, 65535, 1448, 60000, 16), b.large, frame.DropBadOffload, "vm1"},
		{"group source", plain, func(frame.MAC) []byte { return ipv4(b.victim, 0x0100_5e00_0001, 100) }, frame.DropBadSource, "vm1"},
		{"broadcast source", plain, func(frame.MAC) []byte { return ipv4(b.victim, frame.Broadcast, 100) }, frame.DropBadSource, "vm1"},
		{"zero source", plain, func(frame.MAC) []byte { return ipv4(b.victim, 0, 100) }, frame.DropBadSource, "vm1"},
		{"reserved destination", plain, func(src frame.MAC) []byte { return ipv4(0x0180_c200_0000, src, 100) }, frame.DropReserved, "vm1"},
		{"PAUSE", plain, func(src frame.MAC) []byte { return ipv4(0x0180_c200_0001, src, 100) }, frame.DropReserved, "vm1"},
	} {
		src := evil + frame.MAC(i)<<16
		before := b.w.Counters(c.port)
		const times = 5
		refused := 0
		for range times {
			if b.tap.Send(c.header, c.frame(src)) != nil {
				refused++
			}
		}
		b.Until(c.name+": all are accounted for", func() error {
			after := b.w.Counters(c.port)
			dropped := after.Drops[c.reason.String()] - before.Drops[c.reason.String()]
			if n := refused + int(dropped) + int(kernelDrops(after)-kernelDrops(before)); n < times {
				return fmt.Errorf("%d of %d: %d refused by the kernel, drops %v, kernel %v", n, times, refused, after.Drops, after.Kernel)
			}
			return nil
		})
		t.Logf("%s: %d of %d refused by the kernel", c.name, refused, times)
		if n := b.seen.From(src); n > 0 {
			t.Errorf("%s: %d of them came through", c.name, n)
		}
	}
	b.talks(b.a, 14)

	t.Log("a good frame of the same guest passes")
	if err := b.tap.Send(plain, ipv4(b.victim, evil, 100)); err != nil {
		t.Fatal(err)
	}
	b.Until("the good frame arrives", func() error {
		if b.seen.From(evil) == 0 {
			return errNotYet
		}
		return nil
	})
}

func (b *badGuest) small(src frame.MAC) []byte { return ipv4(b.victim, src, 100) }
func (b *badGuest) large(src frame.MAC) []byte { return ipv4(b.victim, src, 4000) }

func kernelDrops(c api.Counters) (n uint64) {
	for _, v := range c.Kernel {
		n += v
	}
	return n
}

// An address that flaps between two ports as fast as frames come is counted as
// moves, and others' traffic goes on.
func TestFlappingAddressHarmsNobody(t *testing.T) {
	b := newBadGuest(t, "  - {name: vm1, network: lab}\n  - {name: vm2, network: lab}\n")
	other := b.hv.OpenTAP("vm2")
	b.w.Up("vm2")
	const d = 3 * time.Second
	sent := 0
	b.Together(
		func() {
			f := ipv4(b.victim, evil, 46)
			sent = b.tap.Flood(d, f, func(int, []byte) { _ = other.Send([frame.VirtioLen]byte{}, f) })
		},
		func() { b.talks(b.a, 14) },
	)
	moved := b.w.Counters("vm1").Moved + b.w.Counters("vm2").Moved
	t.Logf("%d moves of %d frames in %v", moved, 2*sent, d)
	if moved == 0 {
		t.Error("no move was counted")
	}
	b.talks(b.a, 14)
}

// A guest that makes up addresses fills its own allowance, not the table: what it
// sends is still relayed, and others are still learned.
func TestMadeUpAddressesAreLimited(t *testing.T) {
	const limit = 100
	b := newBadGuest(t, fmt.Sprintf("  - {name: vm1, network: lab, stations: %d}\n", limit))
	f := ipv4(b.victim, 0, 46)
	sent := 0
	b.Together(
		func() {
			sent = b.tap.Flood(2*time.Second, f, func(i int, f []byte) { (frame.MAC(0x0200_0000_0000) + frame.MAC(i)).Put(f[6:]) })
		},
		func() { b.talks(b.a, 14) },
	)
	stations := 0
	for _, s := range b.w.Stations("lab") {
		if s.Port == "vm1" {
			stations++
		}
	}
	if stations != limit {
		t.Errorf("%d stations at vm1 after %d addresses, want %d", stations, sent, limit)
	}
	if c := b.w.Counters("vm1"); c.LearnLimit == 0 {
		t.Errorf("learn_limit of vm1 is 0 after %d addresses", sent)
	}
	last := frame.MAC(0x0200_0000_0000) + frame.MAC(sent-1)
	b.Until("what is not learned is relayed all the same", func() error {
		if b.seen.From(last) == 0 {
			_ = b.tap.Send([frame.VirtioLen]byte{}, f)
			return errNotYet
		}
		return nil
	})
	ct3 := b.container("ct3", 15)
	b.w.MustWeft("port", "add", "ct3", "network=lab", "type=device")
	b.w.Up("ct3")
	b.talks(ct3, 14)
}
