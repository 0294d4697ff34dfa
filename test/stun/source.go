package stun

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// A source is a local endpoint of one protocol, whose mapping the probe looks at.
type source interface {
	// mapped asks the server at the endpoint how the source looks to it.
	mapped(to endpoint) (netip.AddrPort, error)

	// admits reports whether something from the endpoint arrives, after the source has
	// spoken to the primary one.
	admits(from endpoint) (bool, error)

	local() netip.AddrPort
	close()
}

var errSilent = errors.New("no answer")

// A datagrams source is a UDP socket.
type datagrams struct {
	servers [2]netip.Addr
	conn    *net.UDPConn
}

func openDatagrams(servers [2]netip.Addr, at netip.AddrPort) (source, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	return &datagrams{servers: servers, conn: c}, nil
}

func (d *datagrams) local() netip.AddrPort {
	return d.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (d *datagrams) close() { _ = d.conn.Close() }

func (d *datagrams) mapped(to endpoint) (netip.AddrPort, error) {
	r, err := d.ask(to, request{Want: tellSeen, Reply: to})
	return r.Seen, err
}

func (d *datagrams) admits(from endpoint) (bool, error) {
	_, err := d.ask(primary, request{Want: tellSeen, Reply: from})
	if errors.Is(err, errSilent) {
		return false, nil
	}
	return err == nil, err
}

// ask sends a request until its answer comes.
func (d *datagrams) ask(to endpoint, r request) (response, error) {
	for range tries {
		r.Nonce = rand.Uint64()
		if _, err := d.conn.WriteToUDPAddrPort(encode(r), to.at(d.servers)); err != nil {
			return response{}, err
		}
		answer, _, err := d.await(r.Nonce)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
	}
	return response{}, fmt.Errorf("udp %v: %w", to.at(d.servers), errSilent)
}

// await waits for the message with this nonce and tells who sent it.
func (d *datagrams) await(nonce uint64) (response, netip.AddrPort, error) {
	if err := d.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return response{}, netip.AddrPort{}, err
	}
	b := make([]byte, 1<<12)
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return response{}, netip.AddrPort{}, err
		}
		var r response
		if json.Unmarshal(b[:n], &r) == nil && r.Nonce == nonce {
			return r, unmapped(from), nil
		}
	}
}

// A streams source is a local TCP port: connections from it, and a listener on it.
type streams struct {
	servers  [2]netip.Addr
	listener net.Listener
	conns    []net.Conn // kept open, that no mapping ends
	first    net.Conn   // to the primary endpoint
}

func openStreams(servers [2]netip.Addr, at netip.AddrPort) (source, error) {
	l, err := (&net.ListenConfig{Control: reuse}).Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return &streams{servers: servers, listener: l}, nil
}

func (s *streams) local() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

func (s *streams) close() {
	_ = s.listener.Close()
	for _, c := range s.conns {
		// A reset: the next probe may want the same connection, and TIME_WAIT would hold it.
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// dial connects from the source's port.
func (s *streams) dial(to netip.AddrPort, wait time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: wait, LocalAddr: s.listener.Addr(), Control: reuse}
	c, err := d.Dial("tcp", to.String())
	if err == nil {
		s.conns = append(s.conns, c)
	}
	return c, err
}

func (s *streams) mapped(to endpoint) (netip.AddrPort, error) {
	c, err := s.dial(to.at(s.servers), tries*patience)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if to == primary {
		s.first = c
	}
	r, err := converse(c, request{Want: tellSeen})
	return r.Seen, err
}

func (s *streams) admits(from endpoint) (bool, error) {
	r, err := converse(s.first, request{Want: connectBack, Reply: from})
	return r.Done, err
}

// converse sends a request by a connection and returns the answer.
func converse(c net.Conn, r request) (response, error) {
	if err := c.SetDeadline(time.Now().Add(2 * tries * patience)); err != nil {
		return response{}, err
	}
	if _, err := c.Write(encode(r)); err != nil {
		return response{}, err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return response{}, err
	}
	var answer response
	err = json.Unmarshal(line, &answer)
	return answer, err
}

// An echoes source is an ICMP identifier. Beside the echoes it asks the servers by UDP
// what they have seen.
type echoes struct {
	servers [2]netip.Addr
	conn    *net.IPConn
	at      netip.AddrPort // the identifier as port
	ask     *datagrams
}

func openEchoes(servers [2]netip.Addr, at netip.AddrPort) (source, error) {
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), 1+uint16(rand.UintN(1<<16-1)))
	}
	c, err := icmp(at.Addr())
	if err != nil {
		return nil, err
	}
	ask, err := openDatagrams(servers, netip.AddrPortFrom(at.Addr(), 0))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &echoes{servers: servers, conn: c, at: at, ask: ask.(*datagrams)}, nil
}

func (e *echoes) local() netip.AddrPort { return e.at }

func (e *echoes) close() {
	e.ask.close()
	_ = e.conn.Close()
}

func (e *echoes) mapped(to endpoint) (netip.AddrPort, error) {
	server := to.at(e.servers).Addr()
	for range tries {
		nonce := rand.Uint64()
		if _, err := e.conn.WriteToIP(echo(server.Is6(), true, e.at.Port(), nonce), &net.IPAddr{IP: server.AsSlice()}); err != nil {
			return netip.AddrPort{}, err
		}
		came, err := e.await(nonce)
		if err != nil {
			return netip.AddrPort{}, err
		}
		if !came {
			continue
		}
		r, err := e.tell(request{Want: tellEcho, Nonce: nonce})
		if err != nil || r.Done {
			return r.Seen, err
		}
	}
	return netip.AddrPort{}, fmt.Errorf("echo %v: %w", server, errSilent)
}

func (e *echoes) admits(from endpoint) (bool, error) {
	to, err := e.mapped(primary)
	if err != nil {
		return false, err
	}
	nonce := rand.Uint64()
	if _, err := e.tell(request{Want: answerEcho, Nonce: nonce, Reply: from, To: to}); err != nil {
		return false, err
	}
	return e.await(nonce)
}

// tell sends a request whose nonce is an echo's, until its answer comes.
func (e *echoes) tell(r request) (response, error) {
	for range tries {
		if _, err := e.ask.conn.WriteToUDPAddrPort(encode(r), primary.at(e.servers)); err != nil {
			return response{}, err
		}
		answer, _, err := e.ask.await(r.Nonce)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
	}
	return response{}, fmt.Errorf("%s: %w", r.Want, errSilent)
}

// await waits for the echo reply with this nonce.
func (e *echoes) await(nonce uint64) (bool, error) {
	if err := e.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	b := make([]byte, 1<<12)
	for {
		n, _, err := e.conn.ReadFromIP(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if request, id, got, ok := readEcho(b[:n]); ok && !request && id == e.at.Port() && got == nonce {
			return true, nil
		}
	}
}
