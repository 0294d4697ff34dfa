package route_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// A twin decides as the router is to decide, by looking through lists.
type twin struct{ v route.View }

// A fate is what becomes of a packet, as far as the twin knows.
type fate struct {
	left   bool
	reason frame.Reason
	told   bool         // the sender is told of the loss
	port   frame.PortID // of the interface by which it is forwarded
	hop    netip.Addr   // next hop
}

func (f fate) String() string {
	switch {
	case f.left:
		return "left"
	case f.reason != 0:
		return fmt.Sprintf("%v, told %v", f.reason, f.told)
	}
	return fmt.Sprintf("to %v by port %d", f.hop, f.port)
}

func (w twin) iface(at frame.PortID) route.Interface {
	k := slices.IndexFunc(w.v.Interfaces, func(i route.Interface) bool { return i.Port == at })
	return w.v.Interfaces[k]
}

func inAny(a netip.Addr, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return prefix(p).Contains(a) })
}

// own reports whether the address is the host's, and whether of inside interfaces only.
func (w twin) own(a netip.Addr) (own, gateway bool) {
	var inside, outside bool
	for _, i := range w.v.Interfaces {
		for _, p := range i.Addresses {
			inside = inside || p.Addr() == a && !i.Outside
			outside = outside || p.Addr() == a && i.Outside
		}
	}
	return inside || outside || slices.Contains(w.v.Local, a), inside && !outside
}

// broadcastOf returns the interface whose subnet's address for all it is.
func (w twin) broadcastOf(a netip.Addr) (at frame.PortID) {
	for _, i := range w.v.Interfaces {
		for _, p := range i.Addresses {
			if p.Bits() > a.BitLen()-2 || !p.Contains(a) {
				continue
			}
			first := p.Masked().Addr() == a && !i.Outside
			last := a.Is4() && !p.Contains(a.Next())
			if first || last {
				at = i.Port
			}
		}
	}
	return at
}

// best returns the route for an address, as who comes in by in may use it: longest
// prefix, then by an uplink that is allowed, then own subnets, then lowest metric, then
// first interface, then lowest next hop. It is not ok if that leads elsewhere.
func (w twin) best(in route.Interface, a netip.Addr) (route.Route, bool) {
	type candidate struct {
		route.Route
		order   int
		allowed bool
	}
	var list []candidate
	for _, r := range w.v.Routes {
		o := slices.IndexFunc(w.v.Interfaces, func(i route.Interface) bool { return i.Port == r.Port })
		c := candidate{r, o, o >= 0}
		if o < 0 {
			c.order = len(w.v.Interfaces)
		} else if w.v.Interfaces[o].Outside && in.Uplinks != nil {
			c.allowed = slices.Contains(in.Uplinks, r.Port)
		}
		list = append(list, c)
	}
	for o, i := range w.v.Interfaces {
		for _, p := range i.Addresses {
			if !i.Outside {
				list = append(list, candidate{route.Route{Prefix: p, Port: i.Port, Metric: -1000}, o, true})
			}
		}
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return !c.Prefix.Contains(a) })
	if len(list) == 0 {
		return route.Route{}, false
	}
	best := slices.MinFunc(list, func(x, y candidate) int {
		choice := 0
		if in.Uplinks != nil && x.allowed != y.allowed {
			choice = 1
			if x.allowed {
				choice = -1
			}
		}
		return cmp.Or(cmp.Compare(y.Prefix.Bits(), x.Prefix.Bits()), choice,
			cmp.Compare(x.Metric, y.Metric), cmp.Compare(x.order, y.order), x.Via.Compare(y.Via))
	})
	return best.Route, best.allowed
}

// kind names what an address is: a word, or "routed" with its route.
func (w twin) kind(in route.Interface, a netip.Addr) (string, route.Route) {
	switch {
	case a == addr("255.255.255.255"):
		return "limited broadcast", route.Route{}
	case inAny(a, "0.0.0.0/8", "127.0.0.0/8", "240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96"):
		return "martian", route.Route{}
	case inAny(a, "169.254.0.0/16", "fe80::/10"):
		return "link-local", route.Route{}
	case inAny(a, "224.0.0.0/4", "ff00::/8"):
		return "multicast", route.Route{}
	}
	if own, gateway := w.own(a); gateway {
		return "gateway", route.Route{}
	} else if own {
		return "host", route.Route{}
	}
	if slices.Contains(w.v.External, a) {
		return "external", route.Route{}
	}
	if at := w.broadcastOf(a); at != 0 {
		return "broadcast", route.Route{Port: at}
	}
	if r, ok := w.best(in, a); ok {
		return "routed", r
	}
	return "unknown", route.Route{}
}

// decide returns a packet's fate; translated is what the translator makes of its
// destination, if it knows it.
func (w twin) decide(at frame.PortID, src, dst, translated netip.Addr) fate {
	in := w.iface(at)
	d, to := w.kind(in, dst)
	s, from := w.kind(in, src)
	toOutside := d == "routed" && w.iface(to.Port).Outside
	fromOutside := s == "routed" && w.iface(from.Port).Outside
	martian := fate{reason: frame.DropMartian}
	switch {
	case d == "link-local" || d == "multicast" || d == "limited broadcast" || d == "broadcast" && to.Port == at:
		if here := s == "routed" && from.Port == at; !in.Outside && !here && s != "link-local" && s != "martian" {
			return martian
		}
		return fate{left: true}
	case d == "martian" || d == "broadcast":
		return martian
	case in.Outside && (d == "unknown" || d == "gateway" || toOutside):
		return fate{left: true}
	case in.Outside && s != "unknown" && !fromOutside && d == "host":
		return fate{left: true}
	case in.Outside && s != "unknown" && !fromOutside:
		return martian
	case !in.Outside && (s != "routed" || from.Port != at):
		if s == "link-local" && (d == "host" || d == "gateway") {
			return fate{left: true}
		}
		return martian
	case d == "unknown":
		return fate{reason: frame.DropNoRoute, told: w.speaks(in, dst)}
	case d == "gateway" || d == "host" && !in.Outside && in.Realm == 0:
		return fate{left: true}
	case d == "external" && !in.Outside && in.Realm == 0:
		return fate{reason: frame.DropNATNoSession}
	case d == "host" || d == "external":
		return w.translate(d, translated)
	case in.Outside && w.iface(to.Port).Realm != 0:
		return fate{reason: frame.DropNATNoSession}
	case !in.Outside && !toOutside && to.Port != at && !slices.Contains(in.Reach, to.Port):
		return fate{reason: frame.DropForbidden, told: w.speaks(in, dst)}
	}
	return deliver(to, dst)
}

// speaks reports whether the interface has an address of the other's family.
func (w twin) speaks(i route.Interface, a netip.Addr) bool {
	return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() == a.Is4() })
}

func (w twin) translate(d string, dst netip.Addr) fate {
	switch {
	case !dst.IsValid() && d == "host":
		return fate{left: true}
	case !dst.IsValid():
		return fate{reason: frame.DropNATNoSession}
	}
	if k, to := w.kind(route.Interface{}, dst); k == "routed" && !w.iface(to.Port).Outside {
		return deliver(to, dst)
	}
	return fate{reason: frame.DropNoRoute}
}

func deliver(r route.Route, dst netip.Addr) fate {
	if r.Via.IsValid() {
		dst = r.Via
	}
	return fate{port: r.Port, hop: dst}
}

// An oracle is a Translator that gives all packets one destination, or knows none.
type oracle struct {
	masquerader
	to netip.Addr
}

func (o *oracle) Inbound(_ time.Duration, b *frame.Buf) (bool, frame.Reason) {
	if !o.to.IsValid() {
		return false, 0
	}
	_, dst := ends(b.Bytes())
	o.change(b, dst, o.to, false)
	return true, 0
}

func (o *oracle) Hairpin(now time.Duration, b *frame.Buf, _ uint16) (bool, frame.Reason) {
	return o.Inbound(now, b)
}

// fateOf has a new router decide.
func fateOf(t *rapid.T, v route.View, at frame.PortID, p []byte, translated netip.Addr) fate {
	r := &rig{t: t, view: v, bufs: frame.NewBufs(1)}
	r.Router = route.New(route.Config{
		Translator: &oracle{to: translated},
		Inject: func(in frame.PortID, b *frame.Buf) bool {
			r.sent = append(r.sent, sent{in, slices.Clone(b.Bytes())})
			return true
		},
		Resolve: func(at frame.PortID, a netip.Addr) { r.asked = append(r.asked, question{at, a}) },
	})
	r.set()
	b := r.bufs[0]
	b.SetBytes(p)
	b.In, b.Out = at+1, at
	r.Route(0, r.bufs)
	known := r.Neighbors(0)
	switch {
	case b.Reason() == 0 && b.In == at+1:
		return fate{left: true}
	case b.Reason() == frame.Taken && len(known) == 1:
		return fate{port: known[0].At, hop: known[0].Addr}
	}
	return fate{reason: b.Reason(), told: len(r.sent) == 1}
}

// TestDecisionsAreTheTwins compares the router with its twin in small worlds, in which
// everything overlaps.
func TestDecisionsAreTheTwins(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		is4 := rapid.Bool().Draw(t, "is4")
		v := drawView(t, is4)
		for range 128 { // some fates are rare
			at := rapid.SampledFrom(v.Interfaces).Draw(t, "in").Port
			src, dst := drawAddr(is4).Draw(t, "src"), drawAddr(is4).Draw(t, "dst")
			var translated netip.Addr
			if rapid.Bool().Draw(t, "known") {
				translated = drawAddr(is4).Draw(t, "translated")
			}
			mac := twin{v}.iface(at).MAC
			p := datagram(frametest.End{MAC: 1, Addr: src}, frametest.End{MAC: mac, Addr: dst})
			want := twin{v}.decide(at, src, dst, translated)
			got := fateOf(t, v, at, p, translated)
			if got != want {
				t.Fatalf("%v > %v from port %d (translated to %v): %v, want %v\n%+v", src, dst, at, translated, got, want, v)
			}
			switch {
			case got.left:
				seen["left"]++
			case got.reason != 0:
				seen[got.reason.String()]++
			default:
				seen["forwarded"]++
			}
		}
	})
	for _, k := range []string{"left", "forwarded", "martian", "no-route", "forbidden", "nat-no-session"} {
		if seen[k] == 0 {
			t.Errorf("no packet was %s: %v", k, seen)
		}
	}
}

// drawAddr draws addresses of a small world, now and then special ones.
func drawAddr(is4 bool) *rapid.Generator[netip.Addr] {
	special := []string{"0.0.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.5", "240.0.0.1", "255.255.255.255", "99.1.1.1"}
	if !is4 {
		special = []string{"::", "::1", "::ffff:1.1.1.1", "fe80::5", "ff02::5", "3fff::1"}
	}
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.IntRange(0, 9).Draw(t, "special") == 0 {
			return addr(rapid.SampledFrom(special).Draw(t, "address"))
		}
		net := rapid.Uint8Range(0, 3).Draw(t, "net")
		host := rapid.SampledFrom([]uint8{0, 1, 2, 3, 7, 64, 127, 128, 255}).Draw(t, "host")
		if is4 {
			return netip.AddrFrom4([4]byte{10, 0, net, host})
		}
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 7: net, 15: host})
	})
}

func drawPrefix(is4 bool, least int) *rapid.Generator[netip.Prefix] {
	bits := []int{8, 16, 22, 23, 24, 25, 26, 30, 31, 32}
	if !is4 {
		bits = []int{8, 32, 48, 62, 63, 64, 121, 126, 127, 128}
	}
	if least == 0 {
		bits = append(bits, 0)
	}
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := drawAddr(is4).Draw(t, "address")
		for isSpecial(a) {
			a = drawAddr(is4).Draw(t, "another address")
		}
		return netip.PrefixFrom(a, rapid.SampledFrom(bits).Draw(t, "bits"))
	})
}

// isSpecial reports whether no route leads to the address.
func isSpecial(a netip.Addr) bool {
	k, _ := twin{}.kind(route.Interface{}, a)
	return k != "unknown"
}

func drawView(t *rapid.T, is4 bool) route.View {
	var v route.View
	n := rapid.IntRange(1, 4).Draw(t, "interfaces")
	for k := range n {
		i := route.Interface{Port: frame.PortID(10 * (k + 1)), MAC: frame.MAC(0x0200_0000_0000 + k), MTU: 1500}
		i.Name = fmt.Sprint(i.Port)
		if i.Outside = rapid.Bool().Draw(t, "outside"); i.Outside {
			i.Pool = 1
		} else {
			i.Realm = uint16(rapid.IntRange(0, 1).Draw(t, "realm"))
			i.Pool = i.Realm
			for other := range n {
				if rapid.IntRange(0, 2).Draw(t, "reach") == 0 {
					i.Reach = append(i.Reach, frame.PortID(10*(other+1)))
				}
			}
			if rapid.Bool().Draw(t, "chooses") {
				i.Uplinks = rapid.SliceOfNDistinct(rapid.SampledFrom([]frame.PortID{10, 20, 30, 40}), 0, 2, rapid.ID).Draw(t, "uplinks")
			}
		}
		i.Addresses = rapid.SliceOfN(drawPrefix(is4, 8), 0, 2).Draw(t, "addresses")
		v.Interfaces = append(v.Interfaces, i)
	}
	port := rapid.SampledFrom([]frame.PortID{10, 20, 30, 40, 10, 20, 30, 40, 77})
	for _, p := range rapid.SliceOfN(drawPrefix(is4, 0), 0, 6).Draw(t, "routes") {
		r := route.Route{Prefix: p, Port: port.Draw(t, "port"), Metric: rapid.IntRange(0, 1).Draw(t, "metric")}
		if rapid.Bool().Draw(t, "via") {
			r.Via = drawAddr(is4).Draw(t, "next hop")
		}
		v.Routes = append(v.Routes, r)
	}
	v.Local = rapid.SliceOfN(drawAddr(is4), 0, 2).Draw(t, "local")
	v.External = rapid.SliceOfN(drawAddr(is4), 0, 2).Draw(t, "external")
	return v
}
