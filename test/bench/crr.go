package main

import (
	"errors"

	"weft/test/bench/guest"
)

// crrPorts are the ports that the client chooses from. They come again within one
// run, so that a translator need not have a port for each connection there ever was.
const crrPorts = "net.ipv4.ip_local_port_range=32768 40959"

// connect returns how many connections a second guest a makes to guest b, each for
// one request and one response, one after the other.
func (b *bench) connect(l *lab, s subject) (rate float64, err error) {
	if _, err := l.run("a", "", "sysctl", "-q", "-w", crrPorts); err != nil {
		return 0, err
	}
	before, err := s.frames()
	if err != nil {
		return 0, err
	}
	to := guestAddress(2).Addr().String() + ":7002"
	server, err := l.guest("b", "serve", to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.stop()) }() // the next one has the same port
	if err := server.awaitLine(l, holding); err != nil {
		return 0, err
	}
	client, err := l.guest("a", "connect", to, (b.duration / 2).String())
	if err != nil {
		return 0, err
	}
	var done guest.Transactions
	if err := client.answer(l, &done); err != nil {
		return 0, err
	}
	const frames = 6 // of one at the least: each end opens, speaks and closes
	return done.Rate(), passed(s, before, frames*done.Count)
}
