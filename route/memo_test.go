package route_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// An arrival is a frame from a port.
type arrival struct {
	port frame.PortID
	p    []byte
}

// arrivals returns frames of many fates.
func arrivals() (list []arrival) {
	for _, w := range []family{ipv4, ipv6} {
		for _, to := range []frametest.End{w.remote, w.guestB, w.other, at(w.gatewayA), at(w.host), at(w.external)} {
			list = append(list, arrival{guestPort, w.udp(to)}, arrival{guestPort, w.from(w.remote.Addr, to)})
		}
		list = append(list,
			arrival{otherPort, frametest.TCP(w.other, towards(w.remote, macA), nil)},
			arrival{wirePort, w.comesBack()},
			arrival{wirePort, frametest.TCP(w.remote, towards(at(w.host), macU), nil)},
			arrival{wirePort, frametest.UDP(w.remote, towards(w.guestB, macU), nil)})
	}
	return append(list, arrival{guestPort, ipv4.udp(at(addr("127.0.0.1")))}, arrival{guestPort, ipv6.udp(at(addr("2001:db8:eeee::1")))})
}

// TestBatchIsAsItsFrames: what is decided for a frame does not depend on those before it
// in the batch. Two uplinks have next hops of one address, and of two stations.
func TestBatchIsAsItsFrames(t *testing.T) {
	via := addr("fe80::99")
	twoUplinks := func(v *route.View) {
		second()(v)
		for k := range v.Routes {
			if v.Routes[k].Via == ipv6.hop.Addr {
				v.Routes[k].Via = via
			}
		}
		v.Routes = append(v.Routes, route.Route{Prefix: prefix("2001:db8:eeee::/48"), Via: via, Port: portV})
	}
	newWorld := func(t *rapid.T) *rig {
		r := newRig(t, twoUplinks).meet()
		r.SetNeighbor(portU, via, 0x5254_0000_0aaa)
		r.SetNeighbor(portV, via, 0x5254_0000_0bbb)
		for _, w := range []family{ipv4, ipv6} { // mappings, of UDP and of TCP
			r.route(guestPort, w.udp(w.remote))
			r.route(otherPort, frametest.TCP(w.other, towards(w.remote, macA), nil))
		}
		return r
	}
	bufs, list := frame.NewBufs(16), arrivals()
	rapid.Check(t, func(t *rapid.T) {
		together, alone := newWorld(t), newWorld(t)
		port := rapid.SampledFrom([]frame.PortID{guestPort, wirePort}).Draw(t, "port")
		var batch []*frame.Buf
		var drawn []arrival
		for range rapid.IntRange(2, len(bufs)).Draw(t, "frames") {
			k := rapid.SampledFrom(list).Draw(t, "frame")
			if interfaceOf(k.port) == interfaceOf(port) {
				b := bufs[len(batch)]
				b.SetBytes(k.p)
				b.In, b.Out = k.port, interfaceOf(k.port)
				batch, drawn = append(batch, b), append(drawn, k)
			}
		}
		together.Route(together.now, batch)
		for n, k := range drawn {
			b, want := batch[n], alone.route(k.port, k.p)
			if b.Reason() != want.Reason() || b.In != want.In || !bytes.Equal(b.Bytes(), want.Bytes()) {
				t.Errorf("frame %d: %v, %v, port %d; alone %v, %v, port %d", n, b, b.Reason(), b.In, want, want.Reason(), want.In)
			}
		}
	})
}
