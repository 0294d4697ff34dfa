package tap

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/frame"
)

func TestClaimsKindsAreIndependent(t *testing.T) {
	isolate(t)
	c, err := NewClaims(8)
	must(t, err)
	defer c.Close()
	at := netip.MustParseAddrPort("192.0.2.1:2222")
	kinds := func() ClaimKind {
		t.Helper()
		var k ClaimKind
		c.mu.Lock()
		defer c.mu.Unlock()
		c.set(frame.ProtocolTCP, at)
		if c.endpoints.Lookup(c.key, &k) != nil {
			return 0
		}
		return k
	}
	claim := func(k ClaimKind) { must(t, c.Claim(frame.ProtocolTCP, at, k)) }
	release := func(k ClaimKind) { must(t, c.Release(frame.ProtocolTCP, at, k)) }
	for i, step := range []struct {
		do   func(ClaimKind)
		kind ClaimKind
		want ClaimKind
	}{
		{release, ClaimSession, 0},
		{claim, ClaimSession, ClaimSession},
		{claim, ClaimSession, ClaimSession},
		{release, ClaimForward, ClaimSession},
		{claim, ClaimForward, ClaimSession | ClaimForward},
		{release, ClaimSession, ClaimForward},
		{release, ClaimSession, ClaimForward},
		{claim, ClaimSession, ClaimSession | ClaimForward},
		{release, ClaimForward, ClaimSession},
		{release, ClaimSession, 0},
		{release, ClaimSession, 0},
	} {
		step.do(step.kind)
		if got := kinds(); got != step.want {
			t.Errorf("step %d: kinds %d, want %d", i, got, step.want)
		}
		known := 0
		if step.want != 0 {
			known = 1
		}
		if n := entries(c.addresses); n != known {
			t.Errorf("step %d: %d addresses have claims, want %d", i, n, known)
		}
	}
}

func TestClaimsRefused(t *testing.T) {
	isolate(t)
	c, err := NewClaims(2)
	must(t, err)
	defer c.Close()
	at := netip.MustParseAddrPort
	for _, bad := range []struct {
		p  frame.Protocol
		at netip.AddrPort
		k  ClaimKind
	}{
		{frame.ProtocolSCTP, at("192.0.2.1:1"), ClaimSession},
		{frame.ProtocolTCP, at("192.0.2.1:0"), ClaimSession},
		{frame.ProtocolUDP, netip.AddrPort{}, ClaimForward},
		{frame.ProtocolTCP, at("192.0.2.1:1"), 0},
		{frame.ProtocolTCP, at("192.0.2.1:1"), ClaimSession | ClaimForward},
	} {
		if err := c.Claim(bad.p, bad.at, bad.k); err == nil {
			t.Errorf("claimed %v", bad)
		}
	}
	if err := c.Own(netip.Prefix{}); err == nil {
		t.Error("owned no prefix")
	}
	must(t, c.Claim(frame.ProtocolICMP, at("192.0.2.1:0"), ClaimSession))
	must(t, c.Claim(frame.ProtocolTCP, at("192.0.2.1:1"), ClaimSession))
	err = c.Claim(frame.ProtocolTCP, at("192.0.2.2:1"), ClaimSession)
	if !errors.Is(err, unix.E2BIG) || !strings.Contains(err.Error(), "claim TCP 192.0.2.2:1") || !strings.Contains(err.Error(), "there are 2 already") {
		t.Errorf("claim beyond the capacity: %v", err)
	}
	if n := entries(c.addresses); n != 1 {
		t.Errorf("%d addresses have claims, want 1", n)
	}
}

func TestClaimsDoNotAllocate(t *testing.T) {
	isolate(t)
	c, err := NewClaims(8)
	must(t, err)
	defer c.Close()
	at := netip.MustParseAddrPort("[2001:db8::1]:50000")
	n := testing.AllocsPerRun(1000, func() {
		must(t, c.Claim(frame.ProtocolUDP, at, ClaimSession))
		must(t, c.Release(frame.ProtocolUDP, at, ClaimSession))
	})
	if n != 0 {
		t.Errorf("%v allocations for a claim and its release", n)
	}
}

func BenchmarkClaim(b *testing.B) {
	isolate(b)
	c, err := NewClaims(1 << 17)
	must(b, err)
	defer c.Close()
	address := netip.MustParseAddr("192.0.2.1")
	must(b, c.Claim(frame.ProtocolTCP, netip.AddrPortFrom(address, 1), ClaimForward)) // the address has claims
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		at := netip.AddrPortFrom(address, uint16(1024+i%60000))
		must(b, c.Claim(frame.ProtocolUDP, at, ClaimSession))
		must(b, c.Release(frame.ProtocolUDP, at, ClaimSession))
	}
}
