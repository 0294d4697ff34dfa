package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"
)

// deadline ends a transfer that has come to a halt.
const deadline = 60 * time.Second

// The protocol: the client sends a length (8 bytes, big endian), that many bytes and
// their SHA-256; the server checks them and answers in the same form with other bytes.

// serve takes transfers at addr until the process ends.
func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			n, err := receive(c)
			if err == nil {
				err = send(c, n)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "agent: transfer:", err)
			}
		}()
	}
}

// transfer exchanges size bytes with the server at addr, each way.
func transfer(addr, size string) error {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", addr, deadline/4)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := send(c, n); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	got, err := receive(c)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if got != n {
		return fmt.Errorf("received %d bytes, want %d", got, n)
	}
	fmt.Printf("%d bytes each way intact\n", n)
	return nil
}

func send(c net.Conn, n int64) error {
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if err := binary.Write(c, binary.BigEndian, n); err != nil {
		return err
	}
	seed := [32]byte{}
	binary.BigEndian.PutUint64(seed[:], uint64(time.Now().UnixNano()))
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(c, sum), rand.NewChaCha8(seed), n); err != nil {
		return err
	}
	_, err := c.Write(sum.Sum(nil))
	return err
}

func receive(c net.Conn) (int64, error) {
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		return 0, err
	}
	var n int64
	if err := binary.Read(c, binary.BigEndian, &n); err != nil {
		return 0, err
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, c, n); err != nil {
		return 0, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, want); err != nil {
		return 0, err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return 0, errors.New("payload differs from what was sent")
	}
	return n, nil
}
