// Package stun finds out how a NAT behaves, from both of its sides, by the method of
// RFC 5780: a client behind it asks servers at two addresses with two ports each how it
// looks to them, and has them answer from where it has not sent to. The messages are its
// own; beside UDP it asks by TCP (RFC 5382) and by ICMP echo (RFC 5508).
package stun

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// The servers' ports.
var ports = [2]uint16{3478, 3479}

// An endpoint is one of the servers' four: which address, which port. ICMP has no ports.
type endpoint struct{ Address, Port int }

// The endpoints in the order in which RFC 5780 4.3 asks them.
var (
	primary   = endpoint{0, 0}
	otherPort = endpoint{0, 1}
	otherHost = endpoint{1, 0}
	otherBoth = endpoint{1, 1}
)

func (e endpoint) at(servers [2]netip.Addr) netip.AddrPort {
	return netip.AddrPortFrom(servers[e.Address], ports[e.Port])
}

// What a request wants.
const (
	tellSeen    = "seen"    // the asker's address, in an answer from Reply
	connectBack = "connect" // a TCP connection to the asker, from Reply
	tellEcho    = "echo"    // where the echo request with this nonce came from
	answerEcho  = "answer"  // an echo reply with this nonce to To, from Reply's address
)

// A request asks a server for something, in one line.
type request struct {
	Want  string         `json:"want"`
	Nonce uint64         `json:"nonce"`
	Reply endpoint       `json:"reply"`
	To    netip.AddrPort `json:"to,omitzero"` // an echo reply's address, and identifier as port
}

// A response answers the request with its nonce.
type response struct {
	Nonce uint64         `json:"nonce"`
	Seen  netip.AddrPort `json:"seen,omitzero"`
	Done  bool           `json:"done"` // the connection came about, the echo request was seen
}

// patience is how long one try waits for an answer. All ends are on one machine.
const (
	patience = 400 * time.Millisecond
	tries    = 3
)

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("stun: %v", err)) // the types above always encode
	}
	return append(b, '\n')
}

// unmapped returns an address without the form that IPv4 has on sockets of both families.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
