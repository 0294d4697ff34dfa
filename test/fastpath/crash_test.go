package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/frame"
	"weft/internal/control/api"
	"weft/test/lab"
)

// A town is a weftd with guests of real kernels: two in an isolated network, one behind
// NAT, and the world outside.
type town struct {
	*lab.Lab
	*lab.Outside
	hv      *lab.NS
	a, b, c *lab.NS
	w       *lab.Weftd
}

const townDocument = `
networks:
  - {name: lab, mode: isolated}
  - {name: default, dhcp: {enabled: false}, dns: {enabled: false}}
ports:
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab, type: device}
  - {name: ct3, type: device}
`

func newTown(t *testing.T) *town {
	t.Helper()
	l := lab.New(t)
	o := &town{Lab: l, hv: l.NS("hv")}
	o.Outside = l.Outside(o.hv, "nic0")
	o.a, o.b, o.c = o.guest("ct1", "10.9.0.1/24", "fd09::1/64"), o.guest("ct2", "10.9.0.2/24", "fd09::2/64"), o.guest("ct3", "192.168.150.10/24", "fd5a:150::10/64")
	for _, f := range lab.Families {
		o.c.Run("ip %s route add default via %s", f.Version, f.Gateway)
	}
	o.patient(o.a, o.b, o.c, o.Server)
	o.w = o.hv.NewWeftd(townDocument)
	o.w.Wrapper = o.hv.Own()
	o.start()
	return o
}

// guest makes a container behind a device port.
func (o *town) guest(port string, addrs ...string) *lab.NS {
	o.Helper()
	n := o.NS(port)
	o.Veth(o.hv, port, n, "eth0")
	n.Addresses("eth0", addrs...)
	return n
}

// patient has kernels take nothing for lost that is late, on a machine that has much to do.
func (o *town) patient(all ...*lab.NS) {
	o.Helper()
	for _, n := range all {
		n.Run(`sysctl -qw net.ipv4.tcp_early_retrans=0 'net.ipv4.ping_group_range=0 2147483647'
sysctl -qw net.ipv4.tcp_rto_min_us=5000000 2>/dev/null || true`)
	}
}

// settled has kernels ask no more for the neighbors that they know: nobody would hear.
func (o *town) settled() {
	o.Helper()
	for _, n := range []*lab.NS{o.a, o.b, o.c, o.Router, o.Server} {
		n.Run(`ip neigh show | while read -r addr _ dev _ mac _; do
	case $mac in *:*) ip neigh replace "$addr" dev "$dev" lladdr "$mac" nud permanent ;; esac
done`)
	}
}

func (o *town) start() {
	o.Helper()
	o.w.Start()
	o.w.Up("ct1", "ct2", "ct3", "nic0:host")
}

// flows starts traffic of all kinds.
func (o *town) flows() []flow {
	o.Helper()
	for _, f := range lab.Families { // then all neighbors on the way are known
		o.Reaches(o.c, f.Server)
	}
	all := []flow{
		ping(o.Lab, o.a, "10.9.0.2"), ping(o.Lab, o.a, "fd09::2"),
		pour(o.Lab, o.a, o.b, "10.9.0.2"), pour(o.Lab, o.b, o.a, "fd09::1"),
	}
	for _, f := range lab.Families {
		all = append(all, ping(o.Lab, o.c, f.Server), askUDP(o.Lab, o.c, o.Server, f.Server), pour(o.Lab, o.c, o.Server, f.Server))
	}
	return all
}

// questions has a guest ask another one alone for its address, which is for the switch to see, a
// thousand times a second until it is stopped.
func (o *town) questions(from, to *lab.NS) (stop func()) {
	o.Helper()
	f := arp(eui(to), eui(from), frame.ARPRequest, netip.MustParseAddr("10.9.0.1"), 0, netip.MustParseAddr("10.9.0.2"))
	nic := from.Jack("eth0")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.Tick(time.Millisecond); ; {
			select {
			case <-done:
				return
			case <-tick:
				_ = nic.Send([frame.VirtioLen]byte{}, f)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// eui returns the address of a guest's device.
func eui(n *lab.NS) frame.MAC {
	m, err := frame.ParseMAC(strings.TrimSpace(n.Run("cat /sys/class/net/eth0/address")))
	if err != nil {
		panic(err) // the kernel writes no other
	}
	return m
}

// goOn waits for so long, and until each flow has made so many steps more.
func (o *town) goOn(what string, all []flow, d time.Duration, steps uint64) {
	o.Helper()
	from := make([]uint64, len(all))
	for i, f := range all {
		from[i] = f.progress()
	}
	end := time.Now().Add(d)
	for i, f := range all {
		o.Until(what, func() error {
			if now := f.progress(); now < from[i]+steps {
				return fmt.Errorf("%s: %d steps of %d", f, now-from[i], steps)
			}
			if time.Now().Before(end) {
				return errNotYet
			}
			return nil
		})
	}
}

// cached waits until the cache carries flows: by so many entries for all that two stations
// say, and so many for one flow.
func (o *town) cached(stations, flows int) {
	o.Helper()
	o.Until("the cache carries the flows", func() error {
		direct := map[string]int{}
		f := o.w.Fastpath()
		for _, e := range f.Entries {
			if e.State == "direct" && e.Frames > 10 {
				direct[e.Kind]++
			}
		}
		if direct["station"] < stations || direct["flow"] < flows {
			return fmt.Errorf("%v; misses %v, refused %v", direct, f.Misses, f.Refused)
		}
		return nil
	})
}

// The daemon is killed, or left, and started again some seconds later: of what the cache
// carries nothing is lost, nothing is late behind what came after it, and the new daemon's
// cache takes it over.
func TestCacheOutlivesTheDaemon(t *testing.T) {
	for _, how := range []struct {
		name string
		end  func(*lab.Weftd)
	}{{"kill -9", (*lab.Weftd).Kill}, {"restart", (*lab.Weftd).Leave}} {
		t.Run(how.name, func(t *testing.T) {
			o := newTown(t)
			all := o.flows()
			o.cached(2, 12)
			o.settled()
			stop := o.questions(o.a, o.b) // some of them weftd takes and never reads
			how.end(o.w)
			o.goOn("traffic goes on without weftd", all, 2*time.Second, 100)
			stop()
			o.start()
			o.cached(2, 12)
			o.goOn("traffic goes on with the next weftd", all, time.Second, 100)
			for _, f := range all {
				f.check(o.Lab)
			}
			if t.Failed() {
				t.Logf("%s", o.w.MustWeft("counters", "--json"))
			}
			if s := o.w.Sessions(); len(s) < 6 {
				t.Errorf("the new weftd knows the sessions %+v, want those of two pings, two questioners and two connections", s)
			}
			for port, want := range map[string]string{"ct1": "lab", "ct2": "lab"} {
				if !knows(o.w.Stations(want), port) {
					t.Errorf("the new weftd knows no station at %s", port)
				}
			}
		})
	}
}

func knows(all []api.Station, port string) bool {
	for _, s := range all {
		if s.Port == port {
			return true
		}
	}
	return false
}

// The end of the daemon is the end of its programs and maps; what a crash leaves,
// weftd --cleanup removes.
func TestNothingIsLeft(t *testing.T) {
	o := newTown(t)
	all := o.flows()
	o.cached(2, 12)
	for _, f := range all {
		f.check(o.Lab)
	}
	before := o.w.Kernel()
	if len(before.Programs) == 0 || len(before.Maps) == 0 {
		t.Fatalf("weftd has %+v in the kernel: is this test looking at the right things?", before)
	}
	o.w.Stop()
	o.gone(before)

	o.start()
	o.Reaches(o.a, "10.9.0.2")
	o.Reaches(o.c, lab.Families[0].Server)
	before = o.w.Kernel()
	o.w.Kill()
	if now := before.Left(); len(now) == 0 {
		t.Error("nothing is left of a weftd that was killed: is this test looking at the right things?")
	}
	o.w.Cleanup()
	o.gone(before)
	o.NotReaches(o.a, "10.9.0.2")
}

// gone waits until nothing is left; the kernel frees things when it has time.
func (o *town) gone(all lab.Kernel) {
	o.Helper()
	o.Until("programs and maps are gone", func() error {
		if left := all.Left(); len(left) > 0 {
			return errors.New(fmt.Sprint(left))
		}
		return nil
	})
}
