package fastpath

import (
	"fmt"
	"testing"

	"weft/frame"
)

// More stations speak to each other than the cache has room for: those that have been
// silent longest are forgotten, and nothing of it shows, least of all to other ports.
func TestManyFlows(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "", "vm1", "vm2", "vm3")
	vm1, vm2 := r.ports["vm1"], r.ports["vm2"]
	capacity := r.w.Fastpath().Capacity
	side := 1
	for side*side < capacity+capacity/8 {
		side++
	}
	const left, right frame.MAC = 0x5254_0001_0000, 0x5254_0002_0000
	for i := range frame.MAC(side) {
		_ = vm1.Send([frame.VirtioLen]byte{}, barrier(left+i, 0).bytes)
		_ = vm2.Send([frame.VirtioLen]byte{}, barrier(right+i, 0).bytes)
		if i%64 == 0 {
			r.settle(vm1, vm2)
			r.settle(vm2, vm1)
		}
	}
	f := numbered(right, left, 60)
	sent := uint64(0)
	speak := func(i, j int) {
		(right + frame.MAC(j)).Put(f)
		(left + frame.MAC(i)).Put(f[6:])
		sent++
		number(f, sent)
		if err := vm1.Send([frame.VirtioLen]byte{}, f); err != nil {
			t.Fatal(err)
		}
		if sent%256 == 0 {
			vm2.awaits(sent) // no faster than the receiver
		}
	}
	for i := range side {
		for j := range side {
			speak(i, j)
		}
	}
	r.Until("there are no more entries than there is room for", func() error {
		if now := r.w.Fastpath(); now.Flows > capacity || now.Flows < capacity/2 || now.Evicted == 0 {
			return fmt.Errorf("%d entries of %d, %d evicted", now.Flows, capacity, now.Evicted)
		}
		return nil
	})
	t.Log("those that speak are known before long")
	r.Until("pairs that speak are carried", func() error {
		before := r.w.Fastpath().Hits
		for i := range side {
			speak(side-1, i)
		}
		vm2.awaits(sent)
		if hits := r.w.Fastpath().Hits - before; hits < uint64(side*3/4) {
			return fmt.Errorf("%d frames of %d", hits, side)
		}
		return nil
	})
	t.Log("another port had room all the time")
	before, back := r.w.Fastpath().Hits, numbered(left, right, 60)
	for n := range uint64(100) {
		number(back, n+1)
		if err := vm2.Send([frame.VirtioLen]byte{}, back); err != nil {
			t.Fatal(err)
		}
		vm1.awaits(n + 1)
	}
	if hits := r.w.Fastpath().Hits - before; hits < 50 {
		t.Errorf("the cache carried %d frames of 100", hits)
	}
	now := r.w.Fastpath()
	t.Logf("%d pairs of stations: %d entries of %d, %d evicted, refused %v", side*side, now.Flows, capacity, now.Evicted, now.Refused)
	if n := r.ports["vm3"].count.Load(); n != 0 {
		t.Errorf("%d frames were flooded", n)
	}
}
