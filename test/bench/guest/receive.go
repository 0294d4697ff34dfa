package guest

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// Received is what Receive tells.
type Received struct {
	Frames  uint64        // of the flows
	Late    uint64        // those that came after one sent later: reordered or doubled
	Elapsed time.Duration // from the first to the last, in ns
}

// answerEvery is the time between two answers to a sender that warms up.
const answerEvery = 10 * time.Millisecond

// Receive says hello by broadcast until a flow begins to warm up, which also lets
// the switch learn where it is, then counts the flows until they have been silent for
// 300 ms. It answers for addr all the time.
func Receive(l *Link, addr netip.Addr) (Received, error) {
	var r Received
	var last uint64
	var first time.Time
	var heard time.Time // the sender, while it warms up
	count := func(f []byte) bool {
		if !isFlow(f, ofSender) {
			return answerARP(f, receiverMAC, addr)
		}
		sequence := binary.BigEndian.Uint64(f[sequenceOff:])
		if sequence == 0 { // now and then it is answered, as on a flow that is in use
			due := time.Since(heard) > answerEvery
			if due {
				heard = time.Now()
				answerFlow(f)
			}
			return due
		}
		if r.Frames == 0 {
			first = time.Now()
		}
		if sequence <= last {
			r.Late++
		}
		last = max(last, sequence)
		r.Frames++
		return false
	}
	hello := flowFrame(l.Headroom, endpoints{
		dst: broadcast, src: receiverMAC, dstAddr: netip.AddrFrom4([4]byte{255, 255, 255, 255}), srcAddr: addr,
	}, ofReceiver)
	for begin := time.Now(); r.Frames == 0; {
		if time.Since(begin) > patience && time.Since(heard) > patience {
			return r, errors.New("no frame of the flow arrived")
		}
		if heard.IsZero() {
			if _, err := l.Send(hello); err != nil {
				return r, err
			}
		}
		if _, err := l.Wait(20); err != nil {
			return r, err
		}
		if err := l.drain(count); err != nil {
			return r, err
		}
	}
	for {
		ready, err := l.Wait(300)
		if err != nil || !ready {
			return r, err
		}
		before := r.Frames
		if err := l.drain(count); err != nil {
			return r, err
		}
		if r.Frames > before { // and not something else
			r.Elapsed = time.Since(first)
		}
	}
}
