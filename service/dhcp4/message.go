package dhcp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"weft/frame"
	"weft/service/lease"
)

// Where fields lie in a message, in bytes (RFC 2131 2).
const (
	chaddrAt = 28
	snameAt  = 44
	fileAt   = 108
	cookieAt = 236
	fixedLen = 240

	macLen = 6
)

const (
	minDatagram = 576 // bytes of an IP datagram, which every client takes (RFC 2131 2)
	headers     = 28  // of IPv4 and UDP

	// maxMessage is longer than what any client sends, in bytes. It bounds the work for
	// one message.
	maxMessage = 4096
)

// The values of option overload (RFC 2132 9.3), which add up.
const (
	overloadFile  = 1
	overloadSname = 2
)

// A message is what a client says.
type message struct {
	*dhcpv4.DHCPv4 // with the options that overload put into other fields
	kind           dhcpv4.MessageType
	client         lease.Client
	ciaddr         netip.Addr    // what it has; zero: nothing
	giaddr         netip.Addr    // the relay agent; zero: none
	requested      netip.Addr    // option 50; zero: none
	server         netip.Addr    // option 54; zero: none
	term           time.Duration // that it asks for; zero: any
	datagram       int           // the longest IP datagram that it takes, in bytes
}

// nameOf returns the name of a message's type as the RFC has it.
func nameOf(t dhcpv4.MessageType) string { return "DHCP" + t.String() }

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

// decode reads the fixed fields and separates the options. The fixed fields are looked
// at here; the codec reads what has a length of its own.
func decode(p []byte) (*message, error) {
	switch {
	case len(p) < fixedLen:
		return nil, fmt.Errorf("%d bytes are too few", len(p))
	case len(p) > maxMessage:
		return nil, fmt.Errorf("%d bytes are too many", len(p))
	case p[0] != byte(dhcpv4.OpcodeBootRequest):
		return nil, fmt.Errorf("op %d is none of a client", p[0])
	case p[1] != byte(iana.HWTypeEthernet) || p[2] != macLen:
		return nil, fmt.Errorf("hardware type %d with addresses of %d bytes is not Ethernet", p[1], p[2])
	}
	mac := frame.MACFrom(p[chaddrAt:])
	if mac == 0 || mac.IsGroup() {
		return nil, fmt.Errorf("%s is no client's MAC", mac)
	}
	// A copy, as the codec keeps options where they are. Behind it stands the end that
	// some clients leave out.
	packet, err := dhcpv4.FromBytes(append(slices.Clone(p), dhcpv4.OptionEnd.Code()))
	if err != nil {
		return nil, err
	}
	if overload := packet.Options.Get(dhcpv4.OptionOptionOverload); len(overload) == 1 {
		// RFC 2131 4.1: file first, then sname.
		if overload[0]&overloadFile != 0 {
			err = packet.Options.FromBytes(p[fileAt:cookieAt])
		}
		if err == nil && overload[0]&overloadSname != 0 {
			err = packet.Options.FromBytes(p[snameAt:fileAt])
		}
	}
	return &message{DHCPv4: packet, client: lease.Client{MAC: mac}}, err
}

// understand reads what the server goes by out of the options.
func (m *message) understand() error {
	t := m.Options.Get(dhcpv4.OptionDHCPMessageType)
	if len(t) != 1 {
		return errors.New("it has no type (BOOTP is not served)")
	}
	switch m.kind = dhcpv4.MessageType(t[0]); m.kind {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform:
	default:
		return fmt.Errorf("message type %d is none of a client", t[0])
	}
	var err error
	if m.requested, err = m.addressIn(dhcpv4.OptionRequestedIPAddress); err != nil {
		return err
	}
	if m.server, err = m.addressIn(dhcpv4.OptionServerIdentifier); err != nil {
		return err
	}
	m.ciaddr, m.giaddr = address(m.ClientIPAddr), address(m.GatewayIPAddr)
	if term := m.Options.Get(dhcpv4.OptionIPAddressLeaseTime); len(term) == 4 {
		m.term = time.Duration(binary.BigEndian.Uint32(term)) * time.Second
	}
	m.datagram = minDatagram
	if size := m.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(size) == 2 {
		m.datagram = max(minDatagram, int(binary.BigEndian.Uint16(size)))
	}
	// RFC 2131 4.2. An ID that says hardware type and address names the same client as
	// none.
	id := m.Options.Get(dhcpv4.OptionClientIdentifier)
	if len(id) > math.MaxUint8 {
		return fmt.Errorf("a client identifier of %d bytes", len(id))
	}
	if m.client.ID = string(id); len(id) == 0 {
		m.client.ID = string(append([]byte{byte(m.HWType)}, m.ClientHWAddr...))
	}
	m.client.Name = m.name()
	return nil
}

// addressIn returns the address in an option, or the zero Addr if there is none.
func (m *message) addressIn(c dhcpv4.OptionCode) (netip.Addr, error) {
	switch b := m.Options.Get(c); {
	case !m.Options.Has(c):
		return netip.Addr{}, nil
	case len(b) != 4:
		return netip.Addr{}, fmt.Errorf("option %d has %d bytes, want 4", c.Code(), len(b))
	default:
		return address(b), nil
	}
}

// address returns an address of four bytes, or the zero Addr if it is 0.0.0.0.
func address(b []byte) netip.Addr {
	a := netip.AddrFrom4([4]byte(b))
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// name returns what the client calls itself: option 12, else 81 (RFC 4702 2).
func (m *message) name() string {
	if name := m.Options.Get(dhcpv4.OptionHostName); len(name) > 0 {
		return string(name)
	}
	const (
		wire   = 0x04 // flag: the name is as in DNS, not as text
		nameAt = 3
	)
	fqdn := m.Options.Get(dhcpv4.OptionFQDN)
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
func (m *message) wants(c dhcpv4.OptionCode) bool {
	return !m.Options.Has(dhcpv4.OptionParameterRequestList) ||
		slices.Contains(m.Options.Get(dhcpv4.OptionParameterRequestList), c.Code())
}
