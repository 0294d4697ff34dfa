package daemon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"weft/config"
)

// TestApplyAllOrNothing leads a daemon through random configurations, some of which
// meet a device that fails: each either runs as a daemon would that started with
// it, or nothing at all has changed.
func TestApplyAllOrNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newMemKernel(rt, "d0", "d1", "d2", "d3")
		doc, err := config.NewDocument(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDaemon(doc, Options{Log: zap.NewNop()}, k)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Remove()
		for range 5 {
			next := randomConfig(rt, "next")
			if fault := rapid.SampledFrom([]string{"", "", "d0", "create t0", "d2", "t1", "update t0"}).Draw(rt, "fault"); fault != "" {
				k.failOnce(fault, errBroken)
			}
			ports, networks := d.Ports(), d.Networks()
			attached, taps := k.devices()
			d.mu.Lock()
			_, err := d.applyLocked(next, false)
			d.mu.Unlock()
			if err == nil {
				wantRunning(rt, d, next)
			} else {
				now, nowTAPs := k.devices()
				for _, diff := range []string{
					cmp.Diff(ports, d.Ports()), cmp.Diff(networks, d.Networks()), cmp.Diff(attached, now), cmp.Diff(taps, nowTAPs),
				} {
					if diff != "" {
						rt.Fatalf("after %v (-before +after):\n%s", err, diff)
					}
				}
			}
			clear(k.fails)
			clear(k.once)
		}
	})
}

// wantRunning checks that all of c is there, and nothing else.
func wantRunning(t *rapid.T, d *Daemon, c *config.Config) {
	if diff := cmp.Diff(c, d.cfg, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Fatalf("configuration (-want +got):\n%s", diff)
	}
	if len(d.ports) != len(c.Ports) || len(d.networks) != len(c.Networks) {
		t.Fatalf("%d ports and %d networks run, want %d and %d", len(d.ports), len(d.networks), len(c.Ports), len(c.Networks))
	}
	for _, p := range c.Ports {
		switch q := d.ports[p.Name]; {
		case q.att == nil:
			t.Fatalf("port %s is not attached: %v", p.Name, q.fault)
		case q.net != d.networks[p.Network]:
			t.Fatalf("port %s is not in network %s", p.Name, p.Network)
		}
		if d.ports[p.Name].cfg.Device != p.Device {
			t.Fatalf("port %s has device %s, want %s", p.Name, d.ports[p.Name].cfg.Device, p.Device)
		}
	}
	for _, n := range c.Networks {
		for i, u := range d.networks[n.Name].uplinks {
			if u.name != n.Uplinks[i] || u.up == nil {
				t.Fatalf("network %s has uplink %s at place %d (%v), want %s", n.Name, u.name, i, u.fault, n.Uplinks[i])
			}
		}
	}
}
