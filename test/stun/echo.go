package stun

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The ICMP types of echoes (RFC 792, RFC 4443 4.1).
const (
	echoReply4, echoRequest4 = 0, 8
	echoRequest6, echoReply6 = 128, 129
)

// echoLen is an echo message's length: type, code, checksum, identifier, sequence number
// and a nonce as data.
const echoLen = 16

// echo builds an echo message. The kernel fills in the checksum of IPv6's, which covers
// addresses.
func echo(v6, request bool, id uint16, nonce uint64) []byte {
	b := make([]byte, echoLen)
	switch {
	case v6 && request:
		b[0] = echoRequest6
	case v6:
		b[0] = echoReply6
	case request:
		b[0] = echoRequest4
	}
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint64(b[8:], nonce)
	if !v6 {
		sum := uint32(0)
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	}
	return b
}

// readEcho takes an echo message apart; ok is false if it is none of ours.
func readEcho(b []byte) (request bool, id uint16, nonce uint64, ok bool) {
	if len(b) != echoLen || b[1] != 0 {
		return false, 0, 0, false
	}
	switch b[0] {
	case echoRequest4, echoRequest6:
		request = true
	case echoReply4, echoReply6:
	default:
		return false, 0, 0, false
	}
	return request, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint64(b[8:]), true
}

// icmp opens a socket for ICMP at an address.
func icmp(at netip.Addr) (*net.IPConn, error) {
	network := "ip4:icmp"
	if at.Is6() {
		network = "ip6:ipv6-icmp"
	}
	return net.ListenIP(network, &net.IPAddr{IP: at.AsSlice()})
}

// A reflector remembers the echo requests that come to the servers, which their kernel
// answers, and sends replies that nobody asked for.
type reflector struct {
	conns [2]*net.IPConn

	mu   sync.Mutex
	from map[uint64]netip.AddrPort // guarded by mu; sender, identifier as port, by nonce
	came *sync.Cond                // from has more, or somebody has waited long enough
}

func newReflector(addresses [2]netip.Addr) (*reflector, error) {
	r := &reflector{from: map[uint64]netip.AddrPort{}}
	r.came = sync.NewCond(&r.mu)
	for i, a := range addresses {
		c, err := icmp(a)
		if err != nil {
			return nil, fmt.Errorf("echoes at %v: %w", a, err)
		}
		r.conns[i] = c
	}
	return r, nil
}

func (r *reflector) listen(i int) error {
	b := make([]byte, 1<<12)
	for {
		n, from, err := r.conns[i].ReadFromIP(b)
		if err != nil {
			return err
		}
		request, id, nonce, ok := readEcho(b[:n])
		a, _ := netip.AddrFromSlice(from.IP)
		if !ok || !request {
			continue
		}
		r.mu.Lock()
		r.from[nonce] = unmapped(netip.AddrPortFrom(a, id))
		r.mu.Unlock()
		r.came.Broadcast()
	}
}

// seen tells where the request with this nonce came from. The kernel's reply may be
// faster than listen: it waits a moment.
func (r *reflector) seen(nonce uint64) (netip.AddrPort, bool) {
	late := false // guarded by mu
	timer := time.AfterFunc(patience/2, func() {
		r.mu.Lock()
		late = true
		r.mu.Unlock()
		r.came.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if from, ok := r.from[nonce]; ok || late {
			return from, ok
		}
		r.came.Wait()
	}
}

// reply sends an echo reply from one of the addresses.
func (r *reflector) reply(address int, to netip.AddrPort, nonce uint64) error {
	if address < 0 || address >= len(r.conns) {
		return fmt.Errorf("no address %d", address)
	}
	_, err := r.conns[address].WriteToIP(echo(to.Addr().Is6(), false, to.Port(), nonce), &net.IPAddr{IP: to.Addr().AsSlice()})
	return err
}
