package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/test/bench/guest"
)

// holding is what a guest says when it is ready for its part.
const holding = "holding"

func hold() { fmt.Println(holding) }

// runGuest plays a guest, see package guest: a role, the links that it has, and what
// else the role needs.
func runGuest(role string, args []string) error {
	var links []*guest.Link
	for _, where := range args {
		if !guest.IsLink(where) {
			break
		}
		l, err := guest.Dial(where)
		if err != nil {
			return err
		}
		defer l.Close() //nolint:errcheck // the process ends
		links = append(links, l)
	}
	rest := args[len(links):]
	switch {
	case role == "hold":
		hold()
		return guest.Hold(links)
	case len(links) == 1 && len(rest) == 1:
		return runLinked(role, links[0], rest[0])
	case len(links) == 0 && len(rest) > 0:
		return runBehind(role, rest)
	}
	return fmt.Errorf("guest %s %q: it does not go so", role, args)
}

// runLinked plays a guest that holds its NIC itself.
func runLinked(role string, l *guest.Link, arg string) error {
	if role == "send" {
		var load guest.Load
		if err := json.Unmarshal([]byte(arg), &load); err != nil {
			return err
		}
		return tell(guest.Send(l, load, hold, told()))
	}
	addr, err := netip.ParseAddr(arg)
	if err != nil {
		return err
	}
	switch role {
	case "receive":
		return tell(guest.Receive(l, addr))
	case "echo":
		return guest.Echo(l, addr)
	}
	return fmt.Errorf("guest %s: no such role with a link", role)
}

// runBehind plays a guest whose kernel has the NIC, or what stands for a switch.
func runBehind(role string, args []string) error {
	if role == "redirect" && len(args) == 3 {
		r, err := guest.Redirect(guest.Hook(args[0]), args[1], args[2])
		if err != nil {
			return err
		}
		defer r.Close() //nolint:errcheck // the process ends
		hold()
		return unix.Pause()
	}
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	switch {
	case role == "serve":
		return guest.Serve(addr, hold)
	case role == "reflect":
		return guest.Reflect(addr, hold)
	case role == "explore":
		return tell(guest.Explore(addr))
	case role == "connect" && len(args) == 2:
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		return tell(guest.Connect(addr, d))
	}
	return fmt.Errorf("guest %s %q: no such role", role, args)
}

// told returns a channel that is closed when the guest is told to begin, by a line:
// see process.begin.
func told() <-chan struct{} {
	begin := make(chan struct{})
	go func() {
		defer close(begin)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the end of the bench is a sign too
	}()
	return begin
}

// tell prints what a guest has to tell; answer reads it.
func tell[T any](v T, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

// answer waits for a guest's end and reads the last line that it has printed.
func (p *process) answer(l *lab, v any) error {
	out, err := p.wait(l.ctx)
	if err != nil {
		return err
	}
	out = strings.TrimSpace(out)
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), v); err != nil {
		return fmt.Errorf("guest's answer %q: %w", out, err)
	}
	return nil
}

// begin tells a guest to begin.
func (p *process) begin() error {
	_, err := p.stdin.Write([]byte("\n"))
	return err
}
