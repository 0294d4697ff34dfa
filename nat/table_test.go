package nat

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/frame"
)

// Packets of sessions cost no allocation, nor do new sessions, fragments and ageing,
// once there is memory for them.
func TestTableDoesNotAllocate(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(AddressDependent)))
		r.tab.emit = nil
		r.tab.changed, r.tab.seen = func(uint32) {}, func(session uint32, _ bool) (frame.TCPSeen, bool) {
			return frame.TCPSeen{Ack: session}, true
		}
		frames := []*frame.Buf{
			buf(udpFrame(at(f.guest, 5000), at(f.remote, 53), 18), guestPort),
			buf(tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn}), guestPort),
			buf(tcpFrame(at(f.guest, 5001), at(f.remote, 80), seg{flags: ack, seq: 9, ack: 9}), guestPort), // midway
			buf(echoFrame(f.guest, f.remote, f.echo, 7), guestPort),
		}
		for _, p := range cut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 40), 9, 24) {
			frames = append(frames, buf(p, guestPort))
		}
		later := buf(piece(udpFrame(at(f.guest, 5000), at(f.remote, 53), 40), 99, 8, 16, true), guestPort)
		answers := []*frame.Buf{
			buf(tcpFrame(at(f.remote, 80), at(f.external, 5001), seg{flags: ack, seq: 9, ack: 9}), uplinkPort),
			buf(tcpFrame(at(f.remote, 80), at(f.external, 5001), seg{flags: rst, seq: 9}), uplinkPort), // while it may be remembered
		}
		one := buf(nil, guestPort)
		everything := func() {
			for _, b := range frames {
				one.CopyFrom(b)
				if why := r.tab.Outbound(r.now, one, 1, 1); why != 0 {
					t.Fatal(why)
				}
				r.tab.Inbound(r.now, one) // nobody sent that
			}
			for _, p := range answers {
				one.CopyFrom(p)
				if ours, why := r.tab.Inbound(r.now, one); !ours || why != 0 {
					t.Fatal(why)
				}
				r.tab.Touch(r.now, one.Basis.Session, true, 0)
			}
			if why := r.tab.Outbound(r.now, later, 1, 1); why != frame.Taken {
				t.Fatal(why)
			}
			r.now += 5 * time.Minute
			for range sources {
				r.tab.Expire(r.now)
			}
		}
		everything()
		if n := testing.AllocsPerRun(100, everything); n != 0 {
			t.Errorf("%v allocations", n)
		}
		r.wantSessions(0)
	})
}

// Many translate, age, list, flush and configure at once.
func TestTableForMany(t *testing.T) {
	f := families[0]
	var changes int
	tab := New(Config{
		Capacity: 500, Emit: func(frame.PortID, *frame.Buf) bool { return true },
		Changed: func(uint32) { changes++ }, Seen: func(uint32, bool) (frame.TCPSeen, bool) { return frame.TCPSeen{}, changes%2 == 0 },
	})
	tab.Configure(0, settings())
	var work, busy sync.WaitGroup
	done := make(chan struct{})
	for worker := range 4 {
		work.Go(func() {
			b := frame.NewBufs(1)[0]
			for i := range 3000 {
				guest := f.guest
				if i%2 == 0 {
					guest = f.other
				}
				now := time.Duration(i) * 100 * time.Millisecond
				for _, p := range [][]byte{
					udpFrame(at(guest, uint16(2000+i%700)), at(f.remote, uint16(1+worker)), 20),
					piece(udpFrame(at(guest, 5000), at(f.remote, 53), 100), uint32(i), 8*(i%3), 8*(i%3)+8, true),
					tcpFrame(at(f.remote, 9), at(f.external, uint16(1+i)), seg{flags: syn}),
				} {
					b.SetBytes(p)
					b.In = frame.PortID(worker)
					b.Parse()
					if source(p) == f.remote {
						tab.Inbound(now, b)
					} else {
						tab.Outbound(now, b, 1, 1)
					}
					tab.Touch(now, b.Basis.Session, i%3 == 0, time.Second)
				}
			}
		})
	}
	for _, meanwhile := range []func(i int){
		func(i int) { tab.Expire(time.Duration(i) * time.Second) },
		func(i int) {
			if i%10 == 0 {
				tab.Configure(0, settings(filtering(Filtering(i/10%3))))
			}
		},
		func(i int) {
			for s := range tab.Sessions {
				if s.Realm != 1 || s.External.Addr() != f.external {
					t.Errorf("%+v", s)
				}
			}
			tab.Counters()
			tab.ForgetPort(frame.PortID(i % 4))
		},
		func(int) { tab.Flush(1, f.other) },
	} {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					meanwhile(i)
				}
			}
		})
	}
	work.Wait()
	close(done)
	busy.Wait()
	checkBooks(t, tab)
	tab.Flush(1, netip.Addr{})
	if changes == 0 {
		t.Error("no session changed")
	}
	if c := tab.Counters(); c.Sessions != 0 || c.Mappings != 0 || c.Opened != c.Closed {
		t.Errorf("%+v", c)
	}
	for p, n := range tab.opened {
		if n != 0 {
			t.Errorf("port %d has %d sessions left", p, n)
		}
	}
}
