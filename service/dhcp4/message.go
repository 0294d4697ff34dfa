package dhcp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"weft/frame"
	"weft/service/lease"
)

// A kind is a message's type (RFC 2132 9.6).
type kind uint8

// The types.
const (
	discover kind = 1 + iota
	offer
	request
	decline
	ack
	nak
	release
	inform
)

var kinds = [...]string{
	discover: "DHCPDISCOVER", offer: "DHCPOFFER", request: "DHCPREQUEST", decline: "DHCPDECLINE",
	ack: "DHCPACK", nak: "DHCPNAK", release: "DHCPRELEASE", inform: "DHCPINFORM",
}

// String returns the type's name as the RFC has it.
func (k kind) String() string {
	if int(k) < len(kinds) && kinds[k] != "" {
		return kinds[k]
	}
	return "message type " + strconv.Itoa(int(k))
}

const (
	minDatagram = 576 // bytes of an IP datagram, which every client takes (RFC 2131 2)
	headers     = 28  // of IPv4 and UDP

	// maxMessage is longer than what any client sends, in bytes. It bounds the work for
	// one message.
	maxMessage = 4096
)

// A message is what a client says.
type message struct {
	packet    packet
	options   options
	kind      kind
	client    lease.Client
	ciaddr    netip.Addr    // what it has; zero: nothing
	giaddr    netip.Addr    // the relay agent; zero: none
	requested netip.Addr    // option 50; zero: none
	server    netip.Addr    // option 54; zero: none
	term      time.Duration // that it asks for; zero: any
	datagram  int           // the longest IP datagram that it takes, in bytes
}

// parse reads a message, and checks all that the server goes by.
func parse(q Request) (*message, error) {
	m, err := decode(q.Payload)
	if err == nil {
		err = m.understand()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m.client.Family, m.client.Port = lease.IPv4, q.Port
	return m, nil
}

// decode reads the fixed fields and separates the options.
func decode(p packet) (*message, error) {
	switch {
	case len(p) < fixedLen:
		return nil, fmt.Errorf("%d bytes are too few", len(p))
	case len(p) > maxMessage:
		return nil, fmt.Errorf("%d bytes are too many", len(p))
	case p[0] != bootRequest:
		return nil, fmt.Errorf("op %d is none of a client", p[0])
	case p[1] != ethernet || p[2] != macLen:
		return nil, fmt.Errorf("hardware type %d with addresses of %d bytes is not Ethernet", p[1], p[2])
	case binary.BigEndian.Uint32(p[cookieAt:]) != cookie:
		return nil, errors.New("the magic cookie is missing (BOOTP is not served)")
	}
	mac := frame.MACFrom(p[chaddrAt:])
	if mac == 0 || mac.IsGroup() {
		return nil, fmt.Errorf("%s is no client's MAC", mac)
	}
	o, err := p.readAll()
	return &message{packet: p, options: o, client: lease.Client{MAC: mac}}, err
}

// understand reads what the server goes by out of the options.
func (m *message) understand() error {
	t := m.options[optMessageType]
	if len(t) != 1 {
		return errors.New("it has no type (BOOTP is not served)")
	}
	switch m.kind = kind(t[0]); m.kind {
	case discover, request, decline, release, inform:
	default:
		return fmt.Errorf("%s is none of a client", m.kind)
	}
	var err error
	if m.requested, err = m.addressIn(optRequested); err != nil {
		return err
	}
	if m.server, err = m.addressIn(optServer); err != nil {
		return err
	}
	m.ciaddr, m.giaddr = address(m.packet[ciaddrAt:yiaddrAt]), address(m.packet[giaddrAt:chaddrAt])
	if term := m.options[optLeaseTime]; len(term) == 4 {
		m.term = time.Duration(binary.BigEndian.Uint32(term)) * time.Second
	}
	m.datagram = minDatagram
	if size := m.options[optMaxSize]; len(size) == 2 {
		m.datagram = max(minDatagram, int(binary.BigEndian.Uint16(size)))
	}
	// RFC 2131 4.2. An ID that says hardware type and address names the same client as
	// none.
	id := m.options[optClientID]
	if len(id) > math.MaxUint8 {
		return fmt.Errorf("a client identifier of %d bytes", len(id))
	}
	if m.client.ID = string(id); len(id) == 0 {
		m.client.ID = string(append([]byte{ethernet}, m.chaddr()...))
	}
	m.client.Name = m.name()
	return nil
}

func (m *message) chaddr() []byte { return m.packet[chaddrAt : chaddrAt+macLen] }

// addressIn returns the address in an option, or the zero Addr if there is none.
func (m *message) addressIn(c code) (netip.Addr, error) {
	switch b, said := m.options[c]; {
	case !said:
		return netip.Addr{}, nil
	case len(b) != 4:
		return netip.Addr{}, fmt.Errorf("option %d has %d bytes, want 4", c, len(b))
	default:
		return address(b), nil
	}
}

// name returns what the client calls itself: option 12, else 81 (RFC 4702 2).
func (m *message) name() string {
	if name := m.options[optHostName]; len(name) > 0 {
		return string(name)
	}
	const (
		wire   = 0x04 // flag: the name is as in DNS, not as text
		nameAt = 3
	)
	fqdn := m.options[optFQDN]
	if len(fqdn) <= nameAt {
		return ""
	}
	name := fqdn[nameAt:]
	if fqdn[0]&wire == 0 {
		return string(name)
	}
	return string(name[1:min(len(name), 1+int(name[0]))])
}

// wants reports whether the client asks for an option: all, if it does not say
// (RFC 2131 3.5).
func (m *message) wants(c code) bool {
	list, said := m.options[optParameterList]
	return !said || slices.Contains(list, byte(c))
}
