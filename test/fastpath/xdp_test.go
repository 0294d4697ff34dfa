package fastpath

import (
	"fmt"
	"strings"
	"testing"

	"weft/frame"
)

// XDP comes and goes with the size of what a guest sends, and with the setting; nobody behind
// the TAPs notices, and nothing stays there.
func TestXDPFollowsTheGuest(t *testing.T) {
	t.Parallel()
	const a, b frame.MAC = 0x5254_0000_0001, 0x5254_0000_0002
	r := newRoom(t, "", "vm1", "vm2", "vm3")
	vm1, vm2 := r.ports["vm1"], r.ports["vm2"]
	_ = vm1.Send([frame.VirtioLen]byte{}, barrier(a, 0).bytes)
	_ = vm2.Send([frame.VirtioLen]byte{}, barrier(b, 0).bytes)
	r.settle(vm1, vm2)
	r.settle(vm2, vm1)

	sent := uint64(0)
	// speak sends frames of a size until the port is carried that way, and some more.
	speak := func(size int, way string) {
		t.Helper()
		f := numbered(b, a, size)
		send := func() {
			for range 64 {
				sent++
				number(f, sent)
				if err := vm1.Send([frame.VirtioLen]byte{}, f); err != nil {
					t.Fatal(err)
				}
			}
			vm2.awaits(sent) // no faster than the receiver
		}
		r.Until("vm1 is carried by "+way, func() error {
			send()
			for _, p := range r.w.Ports() {
				if p.Name == "vm1" && p.Fastpath != way {
					return fmt.Errorf("it is by %s", p.Fastpath)
				}
			}
			return nil
		})
		link := r.hv.Run("ip link show vm1")
		if there := strings.Contains(link, "xdp"); there != (way == "xdp") {
			t.Errorf("carried by %s: %s", way, link)
		}
		hits := r.w.Fastpath().Hits
		for range 16 {
			send()
		}
		if hits = r.w.Fastpath().Hits - hits; (hits < 512) != (way == "off") {
			t.Errorf("carried by %s: %d frames of 1024", way, hits)
		}
	}
	speak(60, "on")
	r.w.MustWeft("port", "set", "vm1", "fastpath=xdp")
	r.w.MustWeft("port", "set", "vm2", "fastpath=xdp")
	speak(60, "xdp")
	speak(1500, "on")
	speak(60, "xdp")
	r.w.MustWeft("port", "set", "vm1", "fastpath=off")
	speak(60, "off")
	r.w.MustWeft("port", "set", "vm1", "fastpath=xdp")
	speak(60, "xdp")
	r.w.Stop()
	if link := r.hv.Run("ip link show"); strings.Contains(link, "xdp") {
		t.Errorf("left behind: %s", link)
	}
	if n := r.ports["vm3"].count.Load(); n != 0 {
		t.Errorf("%d frames were flooded", n)
	}
}
