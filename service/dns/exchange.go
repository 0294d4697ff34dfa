package dns

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
)

var errBadAnswer = errors.New("its answer is not to the question")

// exchange asks a resolver over the network: each time from a new socket, whose port
// the kernel chooses at random, and with a random ID, so that an answer is hard to
// forge (RFC 5452 9.2).
func exchange(ctx context.Context, server netip.AddrPort, r request) ([]byte, error) {
	network := "udp"
	if r.tcp {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	q := []byte(r.wire)
	rand.Read(q[:2])
	if r.tcp {
		return exchangeTCP(conn, q, r.question)
	}
	return exchangeUDP(conn, q, r.question)
}

func exchangeUDP(conn net.Conn, q []byte, question int) ([]byte, error) {
	if _, err := conn.Write(q); err != nil {
		return nil, err
	}
	p := make([]byte, maxMessage)
	for {
		n, err := conn.Read(p)
		if err != nil {
			return nil, err
		}
		if answers(p[:n], q, question) {
			return p[:n:n], nil
		} // else it is forged or late: the right one may still come
	}
}

func exchangeTCP(conn net.Conn, q []byte, question int) ([]byte, error) {
	if err := writeTCP(conn, q); err != nil {
		return nil, err
	}
	p, err := readTCP(conn)
	if err != nil {
		return nil, err
	}
	if !answers(p, q, question) {
		return nil, errBadAnswer
	}
	return p, nil
}

// answers reports whether p is an answer to the query q, whose question is so many
// bytes long. Some servers leave the question out of an error.
func answers(p, q []byte, question int) bool {
	if len(p) < headerLen || !bytes.Equal(p[:2], q[:2]) || p[2]&flagQR == 0 || p[2]&opcodeMask != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(p[4:]) {
	case 0:
		return p[3]&0xf != 0
	case 1:
		return len(p) >= headerLen+question && bytes.EqualFold(p[headerLen:headerLen+question], q[headerLen:headerLen+question])
	}
	return false
}

// readTCP reads one message, two bytes of length in front of it (RFC 1035 4.2.2).
func readTCP(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	p := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, p)
	return p, err
}

// writeTCP writes one message in one piece (RFC 7766 8).
func writeTCP(conn net.Conn, p []byte) error {
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, len(p)+2), uint16(len(p))), p...))
	return err
}
