// Package lease keeps the book of a network's DHCP leases: who holds which address
// until when, of both families, kept on disk before anybody is told.
package lease

import (
	"errors"
	"net/netip"
	"time"

	"weft/frame"
)

// A Family is an address family. A client may hold one address of each.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// A State tells what a Lease is.
type State uint8

// The states of a lease.
//
//	         Bind            Expiry passed, Free, Release
//	Offered ──────▸ Bound ───────────────────────────────▸ Idle
//	   ▴              │  ◂──────────────────────────────────┘  Bind, by the same client
//	   │ Offer        └──▸ Declined ──▸ (gone)
const (
	Offered  State = iota + 1 // held for a client that has not asked for it yet; not on disk
	Bound                     // the client's until Expiry
	Idle                      // was the client's, and will be again as long as nobody needs the address
	Declined                  // somebody uses the address by himself; not given out until Expiry
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Offered:
		return "offered"
	case Bound:
		return "bound"
	case Idle:
		return "idle"
	case Declined:
		return "declined"
	}
	return "none"
}

// A Client is who asks for an address.
type Client struct {
	Family Family
	ID     string    // DHCPv4: option 61, else hardware type and address; DHCPv6: DUID; raw bytes
	IAID   uint32    // DHCPv6: the identity association
	MAC    frame.MAC // of the frame that asked
	Port   string    // the switch port that it came by
	Name   string    // the host name it gave itself, as it came; the book makes it a label
}

// A Lease is one line of the book.
type Lease struct {
	Network  string
	Address  netip.Addr
	Client   Client // Name: the label (RFC 1123) that stands for the address, empty: none
	State    State
	Start    time.Time // when the client got the address
	Expiry   time.Time // Idle: when it ended
	Reserved bool      // by a reservation
}

// A Name is a host name and an address that it stands for.
type Name struct {
	Label   string
	Address netip.Addr
}

// Why an address is not given. Errors of the disk are none of these.
var (
	ErrExhausted = errors.New("no address is free")
	ErrQuota     = errors.New("the port has as many addresses as it may")
	ErrNotHere   = errors.New("the address is not one that this network gives to this client")
	ErrTaken     = errors.New("the address is somebody else's")
	ErrPace      = errors.New("the port asks for new leases too often")
	ErrNoLease   = errors.New("there is no such lease")
)
