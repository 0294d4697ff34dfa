// Package fastpath proves from outside that the flow cache changes nothing but the pace:
// what comes out of every port, in which order, what is counted, when a change takes
// effect, and what a crash costs.
package fastpath

import (
	"fmt"
	"sync"
	"testing"

	"weft/frame"
	"weft/test/lab"
)

// A world is a weftd and all that is around it. What stands behind its ports is played
// by the test, which holds all cables' far ends.
//
//	vm1 vm2 ct1  lab, isolated        nic0 ═══ the outside: two routers, a neighbor
//	vm3          lan, bridged on nic0
//	vm4 ct2      default, NAT
//	vm5 ct3      dmz, routed          nic1 ═══ another outside, of one router
type world struct {
	*lab.Lab
	name    string
	hv, far *lab.NS
	w       *lab.Weftd
	heard   chan struct{} // something has come

	captures map[string]func() // those that run, by port, and how to end them

	mu       sync.Mutex
	jacks    map[string]*jack     // guarded by mu, as all below; by port or NIC
	homes    map[string]string    // where a station is: name of its jack, by its own name
	macs     map[string]frame.MAC // what its address is, by its name
	got      map[string]int       // what came out, normalised, that was not compared yet
	last     map[string]int32     // by jack and class, the last number that came
	barriers map[uint32]bool      // those that came through
	probed   map[string]frame.MAC // whom the last frame of the stream unmarked went to, by jack
	watched  map[string]*trace    // what came of the stream watched, by jack
	apart    bool                 // vm2 is in the network other
}

// A nic is a lab.TAP or a lab.Jack.
type nic interface {
	Send(header [frame.VirtioLen]byte, f []byte) error
	Receive(each func(header [frame.VirtioLen]byte, f []byte))
	Close() error
}

// A jack is the far end of a port's cable.
type jack struct {
	nic
	name  string
	ended chan struct{} // nothing more is received
}

const document = `
switch: {fastpath: %s}
networks:
  - {name: lab, mode: isolated}
  - {name: other, mode: isolated}
  - {name: lan, mode: bridged, uplinks: [nic0]}
  - name: default
    uplinks: [nic0, nic1]
    reach: [dmz]
    routes: [{to: 10.7.0.0/16, via: 192.168.150.10}, {to: "fd10:7::/64", via: "fd5a:150::10"}]
    dhcp: {enabled: false}
    dns: {enabled: false}
    forwards:
      - {proto: tcp, port: 8080, to: "192.168.150.10:80"}
      - {proto: tcp, port: 8080, to: "[fd5a:150::10]:80"}
      - {proto: udp, port: 8080, to: "192.168.150.11:80"}
      - {proto: udp, port: 8080, to: "[fd5a:150::11]:80"}
  - {name: dmz, mode: routed, subnets: [10.20.0.1/24, "fd10:20::1/64"], uplinks: [nic0, nic1], reach: [default]}
ports:
  - {name: vm1, network: lab}
  - {name: vm2, network: lab}
  - {name: ct1, network: lab, type: device}
  - {name: vm3, network: lan}
  - {name: vm4}
  - {name: ct2, type: device}
  - {name: vm5, network: dmz}
  - {name: ct3, network: dmz, type: device}
`

// The NICs' own addresses.
const (
	nic0MAC frame.MAC = 0x5254_0000_ff00
	nic1MAC frame.MAC = 0x5254_0000_ff01
)

// newWorld starts a weftd whose flow cache is "on" or "off", all of whose ports are up.
func newWorld(t *testing.T, fastpath string) *world {
	t.Helper()
	l := lab.New(t)
	v := &world{
		Lab: l, name: fastpath, hv: l.NS("hv"), far: l.NS("far"), heard: make(chan struct{}, 1), captures: map[string]func(){},
		jacks: map[string]*jack{}, homes: map[string]string{}, macs: map[string]frame.MAC{},
		got: map[string]int{}, last: map[string]int32{}, barriers: map[uint32]bool{}, probed: map[string]frame.MAC{}, watched: map[string]*trace{},
	}
	for _, s := range stations {
		v.homes[s.name], v.macs[s.name] = s.jack, s.mac
	}
	// The far ends are the test's alone; the host says all that it has to say.
	v.far.Run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	v.hv.Run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0")
	v.hv.Run("sysctl -qw net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 2>/dev/null || :") // since 6.13
	for _, dev := range []string{"nic0", "nic1", "ct1", "ct2", "ct3"} {
		l.Veth(v.hv, dev, v.far, dev)
		v.plug(dev, v.far.Jack(dev))
	}
	v.hv.Run("ip link set nic0 address %s && ip link set nic1 address %s", nic0MAC, nic1MAC)
	v.hv.Addresses("nic0", "192.0.2.10/24", "2001:db8:1::10/64")
	v.hv.Addresses("nic1", "203.0.113.10/24", "2001:db8:3::10/64")
	v.way(router)
	v.hv.Run("ip route add 198.18.0.0/24 via 203.0.113.1 && ip route add 2001:db8:4::/64 via 2001:db8:3::1")
	v.w = v.hv.NewWeftd(fmt.Sprintf(document, fastpath))
	v.w.Wrapper = v.hv.Own()
	v.w.Start()
	for _, dev := range []string{"vm1", "vm2", "vm3", "vm4", "vm5"} {
		v.plug(dev, v.hv.OpenTAP(dev))
	}
	v.w.Up("vm1", "vm2", "vm3", "vm4", "vm5", "ct1", "ct2", "ct3", "nic0:wire", "nic0:host", "nic1:host")
	return v
}

// way has the host go outside by a router.
func (v *world) way(by *station) {
	v.Helper()
	v.hv.Run("ip route replace default via %s && ip route replace default via %s", by.v4, by.v6)
}

// plug starts to receive what comes out of a port.
func (v *world) plug(name string, n nic) {
	j := &jack{nic: n, name: name, ended: make(chan struct{})}
	v.mu.Lock()
	v.jacks[name] = j
	v.mu.Unlock()
	go func() {
		defer close(j.ended)
		n.Receive(func(header [frame.VirtioLen]byte, f []byte) { v.receive(j, header, f) })
	}()
	v.Cleanup(func() { v.unplug(j) })
}

// unplug ends the guest at a port.
func (v *world) unplug(j *jack) {
	_ = j.Close()
	<-j.ended
}

// jack returns where a station is.
func (v *world) jack(s *station) *jack {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.jacks[v.homes[s.name]]
}

// mac returns what a station's address is.
func (v *world) mac(s *station) frame.MAC {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.macs[s.name]
}

// send sends a frame of the station's, from where it is.
func (v *world) send(s *station, f sent) {
	v.Helper()
	// The kernel itself refuses some, in all worlds alike.
	_ = v.jack(s).Send(f.header, f.bytes)
}

// receive takes a frame that came out.
func (v *world) receive(j *jack, header [frame.VirtioLen]byte, f []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n, ok := barrierIn(f); ok {
		v.barriers[n] = true
	} else if answer := v.answerLocked(j, f); answer != nil {
		_ = j.Send([frame.VirtioLen]byte{}, answer)
	} else if !noise(f) {
		v.keepLocked(j, header, f)
	}
	select {
	case v.heard <- struct{}{}:
	default:
	}
}

// keepLocked notes a frame for the comparison.
func (v *world) keepLocked(j *jack, header [frame.VirtioLen]byte, f []byte) {
	if stream, n, ok := markIn(f); ok {
		switch stream {
		case unmarked:
			v.probed[j.name] = frame.MACFrom(f)
			return
		case watched:
			v.watchLocked(j, n)
			return
		}
		if !isError(f) { // those are sent when there is time
			key := j.name + " " + class(f, stream)
			if last, ok := v.last[key]; ok && n < last {
				v.Errorf("%s: %s: number %d of stream %d came after number %d: %s", v.name, j.name, n, stream, last, described(normal(j.name, header, f)))
			}
			v.last[key] = n
		}
	}
	v.got[j.name+" "+normal(j.name, header, f)]++
}
