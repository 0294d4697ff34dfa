package tap

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"weft/frame"
)

// An arbiter runs the program of an uplink over frames as if they came from its wire.
type arbiter struct {
	uplink  *Uplink
	claims  *Claims
	program *ebpf.Program
	copies  []*frame.Buf
}

// newArbiter attaches to the NIC of a lab, without guests.
func newArbiter(t testing.TB, proxy bool) *arbiter {
	t.Helper()
	c, err := NewClaims(1000)
	must(t, err)
	u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Proxy: proxy, Claims: c})
	must(t, err)
	id, err := hooks()[0].find(u.device, ingress, ownSeat)
	must(t, err)
	p, err := ebpf.NewProgramFromID(id)
	must(t, err)
	t.Cleanup(func() {
		must(t, p.Close())
		must(t, u.Close())
		must(t, c.Close())
	})
	return &arbiter{u, c, p, frame.NewBufs(8)}
}

// tcRedirect is TC_ACT_REDIRECT.
const tcRedirect = 7

// owner tells whose the frame is: "host", "weft" or "both".
func (a *arbiter) owner(t testing.TB, p []byte) string {
	t.Helper()
	ret, err := a.program.Run(&ebpf.RunOptions{Data: p})
	must(t, err)
	n, err := a.uplink.Wire()[0].Recv(a.copies)
	must(t, err)
	copies := 0
	for _, b := range a.copies[:n] {
		if bytes.Equal(b.Bytes(), p) { // a proxy is shown what the stack at the other end asks, too
			copies++
		}
	}
	switch {
	case ret == tcRedirect && copies == 0:
		return "weft"
	case int32(ret) == -1 && copies == 0:
		return "host"
	case int32(ret) == -1 && copies == 1:
		return "both"
	}
	t.Fatalf("the program returned %d and made %d copies", int32(ret), copies)
	return ""
}

func (a *arbiter) claim(t testing.TB, k ClaimKind, p frame.Protocol, at ...string) {
	t.Helper()
	for _, endpoint := range at {
		must(t, a.claims.Claim(p, netip.MustParseAddrPort(endpoint), k))
	}
}

func (a *arbiter) release(t testing.TB, k ClaimKind, p frame.Protocol, at ...string) {
	t.Helper()
	for _, endpoint := range at {
		must(t, a.claims.Release(p, netip.MustParseAddrPort(endpoint), k))
	}
}

// An opinion is a frame and whose it is.
type opinion struct {
	what  string
	frame []byte
	want  string
}

func (a *arbiter) check(t *testing.T, all []opinion) {
	t.Helper()
	for _, o := range all {
		if got := a.owner(t, o.frame); got != o.want {
			t.Errorf("%s: %s, want %s", o.what, got, o.want)
		}
	}
}
