package fastpath

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"

	"weft/frame"
	"weft/internal/control/api"
)

// A change is one that decisions may rest on.
type change struct {
	name  string
	often int
	do    func(p *pair, r *rand.Rand) string // says what exactly
}

var changes = []change{
	{"a station moves", 4, func(p *pair, r *rand.Rand) string {
		s, to := pick(r, lab1, lab2, lab3, lab4), pick(r, "vm1", "vm2", "ct1")
		p.both(func(v *world) {
			v.move(s, to)
			v.announce(s)
		})
		p.settle(s)
		return s.name + " to " + to
	}},
	{"a guest ends and starts", 1, func(p *pair, _ *rand.Rand) string {
		p.both(func(v *world) {
			v.unplug(v.jackOf("vm2"))
			v.w.PortIs("vm2", "down")
			v.plug("vm2", v.hv.OpenTAP("vm2"))
			v.w.Up("vm2")
		})
		return ""
	}},
	{"the MTU", 2, func(p *pair, r *rand.Rand) string {
		network, mtu := pick(r, "lab", "default", "dmz"), pick(r, 1280, 1400, 1500, 2000)
		p.both(func(v *world) { v.w.Set("networks/"+network, map[string]any{"mtu": mtu}) })
		return fmt.Sprint(network, " ", mtu)
	}},
	{"forwards", 2, func(p *pair, r *rand.Rand) string {
		to, to6 := pick(r, "192.168.150.10:80", "192.168.150.12:80"), pick(r, "[fd5a:150::10]:80", "[fd5a:150::12]:80")
		p.both(func(v *world) {
			v.w.Set("networks/default", map[string]any{"forwards": []map[string]any{
				{"proto": "tcp", "port": 8080, "to": to},
				{"proto": "tcp", "port": 8080, "to": to6},
				{"proto": "udp", "port": 8080, "to": "192.168.150.11:80"},
				{"proto": "udp", "port": 8080, "to": "[fd5a:150::11]:80"},
			}})
		})
		return to + " " + to6
	}},
	{"static routes", 2, func(p *pair, r *rand.Rand) string {
		by := pick(r, nat1, nat2)
		p.both(func(v *world) {
			v.moveBehind(by)
			v.w.Set("networks/default", map[string]any{"routes": []map[string]any{
				{"to": "10.7.0.0/16", "via": by.v4}, {"to": "fd10:7::/64", "via": by.v6},
			}})
		})
		return "by " + by.name
	}},
	{"who may reach whom", 1, func(p *pair, r *rand.Rand) string {
		reach := [][]string{{}, {"default"}}[r.IntN(2)]
		p.both(func(v *world) { v.w.Set("networks/dmz", map[string]any{"reach": reach}) })
		return fmt.Sprint(reach)
	}},
	{"filtering", 1, func(p *pair, r *rand.Rand) string {
		f := pick(r, "address-and-port", "address", "endpoint-independent")
		p.both(func(v *world) { v.w.Set("networks/default", map[string]any{"nat.filtering": f}) })
		return f
	}},
	{"the host's default route", 1, func(p *pair, r *rand.Rand) string {
		by := pick(r, router, router2)
		p.both(func(v *world) {
			v.way(by)
			v.until("packets go by "+by.name, v.mac(by), probe(dmz1, server1, p.gateways["dmz"]), probe(server1, hostAt0, nic0MAC))
		})
		return by.name
	}},
	{"a neighbor's address", 1, func(p *pair, r *rand.Rand) string {
		mac := 0x5254_0001_0000 + frame.MAC(r.Uint32N(1<<16))
		p.both(func(v *world) {
			v.rename(neighbor, mac)
			v.until("packets go to the new address", mac, probe(dmz1, neighbor, p.gateways["dmz"]), probe(neighbor, hostAt0, nic0MAC))
		})
		return mac.String()
	}},
	{"a capture", 2, func(p *pair, r *rand.Rand) string {
		port := pick(r, "vm1", "ct1", "vm4", "nic0:wire", "default:gateway")
		p.both(func(v *world) {
			if v.captures[port] == nil {
				v.captures[port] = v.w.Capture(port, func([]byte) {})
			}
		})
		p.later(func() {
			p.both(func(v *world) {
				if stop := v.captures[port]; stop != nil {
					delete(v.captures, port)
					stop()
				}
			})
		})
		return port
	}},
	{"the stations are forgotten", 2, func(p *pair, r *rand.Rand) string {
		network := pick(r, "lab", "lan", "default", "dmz")
		p.both(func(v *world) { v.w.MustAPI(http.MethodDelete, "/v1/fdb?network="+network, nil, nil) })
		return network
	}},
	{"a static station", 1, func(p *pair, r *rand.Rand) string {
		port := pick(r, "vm1", "vm2", "ct1")
		p.both(func(v *world) {
			_ = v.w.API(http.MethodDelete, "/v1/fdb?network=lab&mac="+lab4.mac.String(), nil, nil) // there may be none
			v.move(lab4, port)
			if !v.apart || port != "vm2" {
				v.w.MustAPI(http.MethodPost, "/v1/fdb", api.Station{Network: "lab", MAC: lab4.mac, Port: port}, nil)
			}
		})
		return port
	}},
	{"sessions are flushed", 1, func(p *pair, r *rand.Rand) string {
		which := pick(r, "", "&address=192.168.150.10", "&address=fd5a:150::11")
		p.both(func(v *world) { v.w.MustAPI(http.MethodDelete, "/v1/nat?network=default"+which, nil, nil) })
		return which
	}},
	{"a port changes its network", 1, func(p *pair, _ *rand.Rand) string {
		network := map[bool]string{true: "lab", false: "other"}[p.plain.apart]
		p.both(func(v *world) {
			v.w.Set("ports/vm2", map[string]any{"network": network})
			v.w.Up("vm2")
			v.mu.Lock()
			defer v.mu.Unlock()
			v.apart = network == "other"
		})
		return network
	}},
	{"the cache is flushed", 1, func(p *pair, _ *rand.Rand) string {
		p.cached.w.MustAPI(http.MethodDelete, "/v1/fastpath", nil, nil)
		return ""
	}},
	{"the cache does not serve a port", 1, func(p *pair, r *rand.Rand) string {
		port := pick(r, "vm1", "vm4", "ct3")
		set := func(how string) {
			p.cached.w.Set("ports/"+port, map[string]any{"fastpath": how})
			p.cached.w.Up(port)
		}
		set("off")
		p.later(func() { set("on") })
		return port
	}},
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// later has something be done when a change has lasted for some steps.
func (p *pair) later(do func()) { p.undo[len(p.story)+20] = do }

// change makes one of the changes.
func (p *pair) change(r *rand.Rand) {
	p.Helper()
	var all []*change
	for i := range changes {
		for range changes[i].often {
			all = append(all, &changes[i])
		}
	}
	c := pick(r, all...)
	p.tell("change: %s", c.name)
	p.story[len(p.story)-1] += " " + c.do(p, r)
}

// move has a station be elsewhere.
func (v *world) move(s *station, jack string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.homes[s.name] = jack
}

// moveBehind has what is behind a guest be behind another.
func (v *world) moveBehind(by *station) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.homes[behind.name], v.macs[behind.name] = v.homes[by.name], v.macs[by.name]
}

// rename gives a station another address.
func (v *world) rename(s *station, mac frame.MAC) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.macs[s.name] = mac
}

func (v *world) jackOf(name string) *jack {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.jacks[name]
}

// probe returns a question in each family from a station to another, or to the host, that
// is not compared.
func probe(from, to *station, by frame.MAC) (all []probing) {
	for _, v6 := range []bool{false, true} {
		q := packet{
			dst: by, from: netip.AddrPortFrom(from.addr(v6), 9), to: netip.AddrPortFrom(to.addr(v6), 9),
			protocol: icmp4, echo: 8, hops: 64, payload: marked(unmarked, 0, 40),
		}
		if v6 {
			q.protocol, q.echo = icmp6, 128
		}
		all = append(all, probing{from, q})
	}
	return all
}

type probing struct {
	from *station
	packet
}

// comesOut sends a probe over and over until it comes out at a jack, and returns for whom.
func (v *world) comesOut(at *jack, q probing) (mac frame.MAC) {
	v.Helper()
	q.src = v.mac(q.from)
	v.mu.Lock()
	delete(v.probed, at.name)
	v.mu.Unlock()
	v.Until("a probe comes out", func() error {
		v.send(q.from, q.build())
		v.mu.Lock()
		defer v.mu.Unlock()
		if mac = v.probed[at.name]; mac == 0 {
			return fmt.Errorf("%v to %v does not come out at %s", q.packet.from, q.packet.to, at.name)
		}
		return nil
	})
	return mac
}

// until sends probes, and announces the outside's stations, until what comes out at nic0 is
// for mac.
func (v *world) until(what string, mac frame.MAC, all ...[]probing) {
	v.Helper()
	for _, both := range all {
		for _, q := range both {
			v.Until(what, func() error {
				v.announce(neighbor)
				if got := v.comesOut(v.jackOf("nic0"), q); got != mac {
					return fmt.Errorf("%s: from %v to %v they go to %v", v.name, q.packet.from, q.packet.to, got)
				}
				return nil
			})
		}
	}
}
