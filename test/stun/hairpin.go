package stun

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// What hairpinning comes to (RFC 4787 6).
const (
	Hairpins  = "yes"                     // at once, from the external endpoint of the sender
	BothSpeak = "once both have spoken"   // as filtering other than endpoint-independent wants it
	Internal  = "with an internal source" // arrives, but cannot be answered by all (REQ-9a)
	NoHairpin = "no"
)

// judge says what it means that something from endpoint from arrived where the sender
// has the external endpoint external.
func judge(from, external netip.AddrPort, kind string) string {
	if from != external {
		return Internal
	}
	return kind
}

// hairpinDatagrams opens two sources; each sends to the other's external endpoint.
func hairpinDatagrams(c Config) (string, error) {
	var ends [2]*datagrams
	var external [2]netip.AddrPort
	for i := range ends {
		s, err := openDatagrams(c.Servers, netip.AddrPortFrom(c.Local, 0))
		if err != nil {
			return "", err
		}
		defer s.close()
		if external[i], err = s.mapped(primary); err != nil {
			return "", err
		}
		ends[i] = s.(*datagrams)
	}
	for i, kind := range []string{Hairpins, BothSpeak, BothSpeak} {
		to := 1 - i%2
		nonce := rand.Uint64()
		if _, err := ends[1-to].conn.WriteToUDPAddrPort(encode(response{Nonce: nonce}), external[to]); err != nil {
			return "", err
		}
		_, from, err := ends[to].await(nonce)
		if err == nil {
			return judge(from, external[1-to], kind), nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("hairpin: %w", err)
		}
	}
	return NoHairpin, nil
}

// hairpinStreams connects a source to the other one's external endpoint; if that is
// filtered, each to the other's at once.
func hairpinStreams(c Config) (string, error) {
	var ends [2]*streams
	var external [2]netip.AddrPort
	for i := range ends {
		s, err := openStreams(c.Servers, netip.AddrPortFrom(c.Local, 0))
		if err != nil {
			return "", err
		}
		defer s.close()
		if external[i], err = s.mapped(primary); err != nil {
			return "", err
		}
		ends[i] = s.(*streams)
	}
	taken := make(chan netip.AddrPort, 1)
	go func() {
		if c, err := ends[0].listener.Accept(); err == nil {
			taken <- unmapped(c.RemoteAddr().(*net.TCPAddr).AddrPort())
			_ = c.Close()
		}
	}()
	if _, err := ends[1].dial(external[0], tries*patience); err == nil {
		select {
		case from := <-taken:
			return judge(from, external[1], Hairpins), nil
		case <-time.After(patience):
			return NoHairpin, nil // somebody else took it
		}
	}
	// Simultaneous open (RFC 5382 REQ-2): neither end listens, both connect.
	for _, e := range ends {
		_ = e.listener.Close()
	}
	met := make(chan error, len(ends))
	for i, e := range ends {
		go func() {
			_, err := e.dial(external[1-i], 2*tries*patience)
			met <- err
		}()
	}
	if errors.Join(<-met, <-met) == nil {
		return BothSpeak, nil
	}
	return NoHairpin, nil
}
