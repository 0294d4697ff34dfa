package guest

import (
	"encoding/binary"
	"errors"
	"time"
)

// A frame of the flow: Ethernet, IPv4 and UDP headers and a sequence number, zeros
// up to frameLen. The UDP checksum is absent (RFC 768), so that no path has to
// complete it.
const (
	frameLen    = 64 // without FCS, the least that IEEE 802.3 sends is 60
	etherLen    = 14
	ipLen       = 20
	sequenceOff = etherLen + ipLen + 8
)

// The two ends of the flow.
var (
	senderMAC   = [6]byte{0x52, 0x54, 0, 0xbe, 0, 1}
	receiverMAC = [6]byte{0x52, 0x54, 0, 0xbe, 0, 2}
	broadcast   = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// flowFrame returns a frame of the flow after headroom bytes.
func flowFrame(headroom int, dst, src [6]byte) []byte {
	buf := make([]byte, headroom+frameLen)
	f := buf[headroom:]
	copy(f[0:], dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[etherLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], frameLen-etherLen)
	ip[8], ip[9] = 64, 17 // TTL, UDP
	copy(ip[12:], []byte{198, 18, 0, src[5]})
	copy(ip[16:], []byte{198, 18, 0, dst[5]})
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:ipLen]))
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[0:], 7000)
	binary.BigEndian.PutUint16(udp[2:], 7001)
	binary.BigEndian.PutUint16(udp[4:], frameLen-etherLen-ipLen)
	return buf
}

// onesSum returns the folded one's complement sum of b (RFC 1071).
func onesSum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// isFlow reports whether f is a frame of the flow sent by src.
func isFlow(f []byte, src [6]byte) bool {
	return len(f) == frameLen && [6]byte(f[6:12]) == src && binary.BigEndian.Uint16(f[12:]) == 0x0800
}

// Sent is what Send tells.
type Sent struct {
	Frames  uint64        // taken by the device
	Refused uint64        // offered, not taken
	Elapsed time.Duration // of the sending, in ns
}

// Send waits for the receiver's hello, then sends the flow as fast as the device
// takes it, for d.
func Send(l *Link, d time.Duration) (Sent, error) {
	if err := awaitHello(l); err != nil {
		return Sent{}, err
	}
	var s Sent
	buf := flowFrame(l.Headroom, receiverMAC, senderMAC)
	sequence := buf[l.Headroom+sequenceOff:]
	start := time.Now()
	for s.Elapsed < d {
		for range 64 { // the clock is read once per 64 frames
			binary.BigEndian.PutUint64(sequence, s.Frames+1)
			taken, err := l.Send(buf)
			if err != nil {
				return s, err
			}
			if taken {
				s.Frames++
			} else {
				s.Refused++
			}
		}
		s.Elapsed = time.Since(start)
	}
	return s, nil
}

// patience is how long the two ends wait for one another.
const patience = 10 * time.Second

func awaitHello(l *Link) error {
	heard := false
	for start := time.Now(); !heard && time.Since(start) < patience; {
		if _, err := l.Wait(100); err != nil {
			return err
		}
		err := l.drain(func(f []byte) bool {
			heard = heard || isFlow(f, receiverMAC)
			return false
		})
		if err != nil {
			return err
		}
	}
	if heard {
		return nil
	}
	return errors.New("no frame of the receiver arrived: the switch does not forward")
}

// Received is what Receive tells.
type Received struct {
	Frames  uint64        // of the flow
	Late    uint64        // those that came after one sent later: reordered or doubled
	Elapsed time.Duration // from the first to the last, in ns
}

// Receive says hello by broadcast until the flow begins, which also lets the switch
// learn where it is, then counts the flow until it has been silent for 300 ms.
func Receive(l *Link) (Received, error) {
	var r Received
	var last uint64
	var first time.Time
	count := func(f []byte) bool {
		if !isFlow(f, senderMAC) {
			return false
		}
		if r.Frames == 0 {
			first = time.Now()
		}
		sequence := binary.BigEndian.Uint64(f[sequenceOff:])
		if sequence <= last {
			r.Late++
		}
		last = max(last, sequence)
		r.Frames++
		return false
	}
	hello := flowFrame(l.Headroom, broadcast, receiverMAC)
	for begin := time.Now(); r.Frames == 0; {
		if time.Since(begin) > patience {
			return r, errors.New("no frame of the flow arrived")
		}
		if _, err := l.Send(hello); err != nil {
			return r, err
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
		if err := l.drain(count); err != nil {
			return r, err
		}
		r.Elapsed = time.Since(first)
	}
}
