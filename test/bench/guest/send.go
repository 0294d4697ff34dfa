package guest

import (
	"fmt"
	"net/netip"
	"time"
)

// A Load is what Send sends.
type Load struct {
	From, To netip.Addr    // of the two ends
	Via      netip.Addr    // router between them; zero: they are on one network
	Flows    int           // by ports; the frames of a flow come Flows frames apart
	Buffers  int           // in turn, a multiple of Flows: the sender's own caches see no difference
	Duration time.Duration // in ns
}

// frames returns the prepared frames, with destination's MAC address.
func (p Load) frames(headroom int, dst [6]byte) [][]byte {
	const portsEach = 1000 // of the sender; then comes the receiver's next one
	list := make([][]byte, p.Buffers)
	for i := range list {
		flow := i % p.Flows
		list[i] = flowFrame(headroom, endpoints{
			dst: dst, src: senderMAC, dstAddr: p.To, srcAddr: p.From,
			dstPort: uint16(7001 + flow/portsEach), srcPort: uint16(10000 + flow%portsEach),
		}, ofSender)
	}
	return list
}

// Sent is what Send tells.
type Sent struct {
	Frames  uint64        // taken by the device
	Refused uint64        // offered, not taken
	Elapsed time.Duration // of the sending, in ns
}

// pause is between two bursts of burst frames while the way warms up.
const (
	burst = 64
	pause = 2 * time.Millisecond
)

// Send finds out where the receiver or the router is and calls ready. Then it sends
// the flows at leisure, with sequence number 0, until begin is closed, and from there
// on as fast as the device takes them.
func Send(l *Link, p Load, ready func(), begin <-chan struct{}) (Sent, error) {
	dst, err := l.find(p)
	if err != nil {
		return Sent{}, err
	}
	t := train{link: l, list: p.frames(l.Headroom, dst)}
	ready()
	for warm := true; warm; {
		select {
		case <-begin:
			warm = false
		case <-time.After(pause):
			if err := t.send(0); err != nil {
				return Sent{}, err
			}
		}
	}
	t.sent = Sent{}
	for start := time.Now(); t.sent.Elapsed < p.Duration; t.sent.Elapsed = time.Since(start) {
		if err := t.send(1); err != nil {
			return Sent{}, err
		}
	}
	return t.sent, nil
}

// A train sends prepared frames in turn.
type train struct {
	link *Link
	list [][]byte
	next int
	sent Sent
}

// send sends burst frames, numbered by what was sent before them times step.
func (t *train) send(step uint64) error {
	for range burst {
		buf := t.list[t.next]
		t.next++
		if t.next == len(t.list) {
			t.next = 0
		}
		number(buf[t.link.Headroom:], (t.sent.Frames+1)*step)
		taken, err := t.link.Send(buf)
		if err != nil {
			return err
		}
		if taken {
			t.sent.Frames++
		} else {
			t.sent.Refused++
		}
	}
	return nil
}

// patience is how long the two ends wait for one another.
const patience = 10 * time.Second

// find returns the MAC address that the load goes to: the router's, by ARP, or the
// receiver's, when it has said hello.
func (l *Link) find(p Load) (mac [6]byte, err error) {
	for start := time.Now(); mac == [6]byte{} && time.Since(start) < patience; {
		if p.Via.IsValid() {
			if _, err := l.Send(askARP(l.Headroom, senderMAC, p.From, p.Via)); err != nil {
				return mac, err
			}
		}
		if _, err := l.Wait(100); err != nil {
			return mac, err
		}
		err := l.drain(func(f []byte) bool {
			switch {
			case !p.Via.IsValid() && isFlow(f, ofReceiver):
				mac = receiverMAC
			case p.Via.IsValid() && saysARP(f, p.Via):
				mac = [6]byte(f[6:12])
			}
			return false
		})
		if err != nil {
			return mac, err
		}
	}
	if mac == [6]byte{} {
		return mac, fmt.Errorf("nothing heard of the receiver or %s: the switch does not forward", p.Via)
	}
	return mac, nil
}
