package lease

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func span4(first, last string) Range { return Range{addr(first), addr(last)} }

func TestPoolNumbersAddressesOfAllItsRanges(t *testing.T) {
	for name, ranges := range map[string][]Range{
		"IPv4":                     {span4("192.0.2.250", "192.0.3.5"), span4("10.0.0.1", "10.0.0.1"), span4("172.16.0.0", "172.16.0.63")},
		"IPv6":                     {span4("2001:db8::1000", "2001:db8::10ff")},
		"IPv6 over 64 bits' end":   {span4("2001:db8::ffff:ffff:ffff:fff0", "2001:db8:0:1::f")},
		"to the end of the family": {span4("255.255.255.250", "255.255.255.255")},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newPool(ranges)
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[netip.Addr]bool)
			for n := range p.size {
				a := p.address(n)
				if back, ok := p.number(a); !ok || back != n || seen[a] {
					t.Fatalf("number %d is %s, which is number %d (%t)", n, a, back, ok)
				}
				seen[a] = true
			}
			for _, r := range ranges {
				if !seen[r.First] || !seen[r.Last] || p.contains(r.First.Prev()) || p.contains(r.Last.Next()) {
					t.Errorf("%s-%s: not just these", r.First, r.Last)
				}
			}
			if p.contains(addr("198.51.100.7")) || p.contains(addr("2001:db8:ffff::1")) {
				t.Error("contains what is in no range")
			}
		})
	}
}

func TestPoolRefusesTooManyAddresses(t *testing.T) {
	for _, ranges := range [][]Range{
		{span4("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")},
		{span4("2001:db8::", "2001:db9::")},
		{span4("10.0.0.0", "10.255.255.255"), span4("192.0.2.0", "192.0.2.0")},
	} {
		if _, err := newPool(ranges); err == nil {
			t.Errorf("%v: no error", ranges)
		}
	}
	if _, err := newPool([]Range{span4("10.0.0.0", "10.255.255.255")}); err != nil {
		t.Error(err)
	}
}

// The set of free addresses against a slow and obvious one.
func TestBitmapIsASetOfNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 63, 64, 65, 4095, 4096, 4097, 70000}).Draw(t, "size")
		b, twin := newBitmap(size), make([]bool, size)
		for i := range twin {
			twin[i] = true
		}
		if rapid.Bool().Draw(t, "begin empty") {
			for i := range twin {
				b.set(i, false)
				twin[i] = false
			}
		}
		number := rapid.IntRange(0, size-1)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n, in := number.Draw(t, "n"), rapid.Bool().Draw(t, "in")
				b.set(n, in)
				twin[n] = in
			},
			"clear many": func(t *rapid.T) {
				for n := number.Draw(t, "from"); n < size; n++ {
					b.set(n, false)
					twin[n] = false
				}
			},
			"": func(t *rapid.T) {
				from := number.Draw(t, "from")
				want := from
				for want < size && !twin[want] {
					want++
				}
				got, ok := b.next(from)
				if ok != (want < size) || ok && got != want {
					t.Fatalf("next(%d) = %d, %t, want %d of %d", from, got, ok, want, size)
				}
				if n := number.Draw(t, "n"); b.has(n) != twin[n] {
					t.Fatalf("has(%d) = %t", n, b.has(n))
				}
			},
		})
	})
}
