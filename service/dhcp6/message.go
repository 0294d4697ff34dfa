package dhcp6

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// What no client sends is not read, so that one message is little work, and its answer
// fits into a frame.
const (
	maxMessage      = 4096 // bytes
	maxAssociations = 6
	maxAddresses    = 3   // in one association
	maxWanted       = 128 // options that it asks for
)

// Lengths in bytes (RFC 8415 8, 21.4 to 21.6, 11.1).
const (
	headerLen  = 4  // type and transaction ID
	ianaLen    = 12 // IA_NA and IA_PD without their options: IAID, T1, T2
	iataLen    = 4
	addressLen = 24 // an address option without its options
	minDUID    = 3
	maxDUID    = 130
)

// An association is an identity association (RFC 8415 4.2): IA_NA, IA_TA or IA_PD.
type association struct {
	code      dhcpv6.OptionCode
	id        [4]byte
	addresses []netip.Addr // of IA_PD none
}

// A message is what a client says.
type message struct {
	kind         dhcpv6.MessageType
	xid          dhcpv6.TransactionID
	client       []byte // DUID; nil: none
	server       []byte // DUID; nil: none
	associations []association
	asked        bool               // it says which options it wants
	wanted       dhcpv6.OptionCodes // these
	rapid        bool
	name         string // what the client calls itself
}

// parse reads a message of a client. The codec takes the options apart, and of them it
// reads no more than take lets it: what lies inside options is not followed to where a
// guest would lead.
func parse(p []byte) (*message, error) {
	if len(p) < headerLen || len(p) > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(p))
	}
	m := &message{kind: dhcpv6.MessageType(p[0]), xid: dhcpv6.TransactionID(p[1:headerLen])}
	switch m.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRenew,
		dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeInformationRequest:
	case dhcpv6.MessageTypeRelayForward:
		return nil, fmt.Errorf("%w: a relayed message, and the network has no relay agents", ErrMalformed)
	default:
		return nil, fmt.Errorf("%w: message type %d is none of a client", ErrMalformed, p[0])
	}
	var all dhcpv6.Options
	if err := all.FromBytesWithParser(p[headerLen:], m.take); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, m.kind, err)
	}
	return m, nil
}

// left is what take leaves of an option for the codec: nothing.
var left dhcpv6.Option = &dhcpv6.OptionGeneric{}

// take takes in one option. It is a dhcpv6.OptionParser; of an option that is cut off it
// gets no bytes, and the codec tells later.
func (m *message) take(c dhcpv6.OptionCode, value []byte) (dhcpv6.Option, error) {
	var err error
	switch c {
	case dhcpv6.OptionClientID:
		m.client, err = duid(m.client, value)
	case dhcpv6.OptionServerID:
		m.server, err = duid(m.server, value)
	case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD:
		err = m.associate(c, value)
	case dhcpv6.OptionORO:
		m.asked = true
		if err = m.wanted.FromBytes(value[:min(len(value), 2*maxWanted)]); len(value) > 2*maxWanted {
			err = fmt.Errorf("more than %d options are requested", maxWanted)
		}
	case dhcpv6.OptionRapidCommit:
		m.rapid = true
	case dhcpv6.OptionFQDN:
		m.name = firstLabel(value)
	}
	if err != nil {
		return nil, fmt.Errorf("option %d: %w", c, err)
	}
	return left, nil
}

// duid returns the DUID in an option, which may be there once. What is in it is nobody's
// business (RFC 8415 11).
func duid(before, value []byte) ([]byte, error) {
	switch {
	case before != nil:
		return nil, errors.New("a DUID is there twice")
	case len(value) < minDUID || len(value) > maxDUID:
		return nil, fmt.Errorf("a DUID of %d bytes (RFC 8415 11.1: %d to %d)", len(value), minDUID, maxDUID)
	}
	return value, nil
}

// associate reads an identity association, and the addresses in it.
func (m *message) associate(c dhcpv6.OptionCode, value []byte) error {
	fixed := ianaLen
	if c == dhcpv6.OptionIATA {
		fixed = iataLen
	}
	if len(value) < fixed {
		return fmt.Errorf("an identity association of %d bytes", len(value))
	}
	if len(m.associations) == maxAssociations {
		return fmt.Errorf("more than %d identity associations", maxAssociations)
	}
	ia := association{code: c, id: [4]byte(value)}
	for _, o := range m.associations {
		if o.code == ia.code && o.id == ia.id {
			return fmt.Errorf("the identity association %x is there twice", ia.id)
		}
	}
	var inner dhcpv6.Options
	err := inner.FromBytesWithParser(value[fixed:], func(c dhcpv6.OptionCode, value []byte) (dhcpv6.Option, error) {
		if c != dhcpv6.OptionIAAddr {
			return left, nil
		}
		if len(value) < addressLen || len(ia.addresses) == maxAddresses {
			return nil, fmt.Errorf("address %d of an association, of %d bytes", len(ia.addresses)+1, len(value))
		}
		ia.addresses = append(ia.addresses, netip.AddrFrom16([16]byte(value)))
		return left, nil
	})
	m.associations = append(m.associations, ia)
	return err
}

// firstLabel returns the first label of option 39: flags, and a name as in DNS
// (RFC 4704 4).
func firstLabel(value []byte) string {
	if len(value) < 2 {
		return ""
	}
	name := value[1:]
	return string(name[1:min(len(name), 1+int(name[0]))])
}

// valid reports why the message is to be discarded (RFC 8415 16), if it is.
func (m *message) valid(ours []byte) error {
	information := m.kind == dhcpv6.MessageTypeInformationRequest
	switch {
	case m.client == nil && !information:
		return errors.New("it has no client identifier")
	case m.forOne() && m.server == nil:
		return errors.New("it has no server identifier")
	case m.server != nil && !m.forOne() && !information:
		return errors.New("it has a server identifier, and is for all servers")
	case m.server != nil && !bytes.Equal(m.server, ours):
		return fmt.Errorf("it is for the server %x", m.server)
	case information && len(m.associations) > 0:
		return errors.New("it has an identity association")
	}
	return nil
}

// forOne reports whether the message is of a kind that is for one server.
func (m *message) forOne() bool {
	switch m.kind {
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return true
	}
	return false
}

// asksAnew reports whether the message asks for addresses that the client has not had.
func (m *message) asksAnew() bool {
	return m.kind == dhcpv6.MessageTypeSolicit || m.kind == dhcpv6.MessageTypeRequest
}

// extends reports whether the message asks to keep addresses.
func (m *message) extends() bool {
	return m.kind == dhcpv6.MessageTypeRenew || m.kind == dhcpv6.MessageTypeRebind
}

// wants reports whether the client asks for an option: all, if it does not say.
func (m *message) wants(c dhcpv6.OptionCode) bool { return !m.asked || slices.Contains(m.wanted, c) }
