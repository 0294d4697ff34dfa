package dhcp6

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// What no client sends is not read, so that one message is little work, and its answer
// fits into a frame.
const (
	maxMessage      = 4096 // bytes
	maxAssociations = 6
	maxAddresses    = 3 // in one association
)

// An association is an identity association (RFC 8415 4.2): IA_NA, IA_TA or IA_PD.
type association struct {
	code      code
	id        uint32
	addresses []netip.Addr // of IA_PD none
}

// A message is what a client says.
type message struct {
	kind         kind
	xid          [3]byte
	client       []byte // DUID; nil: none
	server       []byte // DUID; nil: none
	associations []association
	requested    []code // options; nil: all
	rapid        bool
	name         string // what the client calls itself
}

// parse reads a message of a client.
func parse(p []byte) (*message, error) {
	if len(p) < headerLen || len(p) > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(p))
	}
	m := &message{kind: kind(p[0]), xid: [3]byte(p[1:])}
	switch m.kind {
	case solicit, request, confirm, renew, rebind, release, decline, information:
	case relayForward:
		return nil, fmt.Errorf("%w: a relayed message, and the network has no relay agents", ErrMalformed)
	default:
		return nil, fmt.Errorf("%w: %s is none of a client", ErrMalformed, m.kind)
	}
	if err := options(p[headerLen:], m.take); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, m.kind, err)
	}
	return m, nil
}

// take takes in one option.
func (m *message) take(c code, value []byte) (err error) {
	switch c {
	case optClientID:
		m.client, err = duid(m.client, value)
	case optServerID:
		m.server, err = duid(m.server, value)
	case optIANA, optIATA, optIAPD:
		err = m.associate(c, value)
	case optRequest:
		if len(value)%2 != 0 {
			return errors.New("half an option code is requested")
		}
		m.requested = slices.Grow(m.requested, len(value)/2)
		if m.requested == nil {
			m.requested = []code{}
		}
		for ; len(value) > 0; value = value[2:] {
			m.requested = append(m.requested, code(binary.BigEndian.Uint16(value)))
		}
	case optRapidCommit:
		m.rapid = true
	case optFQDN:
		m.name = firstLabel(value)
	}
	return err
}

// duid returns the DUID in an option, which may be there once.
func duid(before, value []byte) ([]byte, error) {
	switch {
	case before != nil:
		return nil, errors.New("a DUID is there twice")
	case len(value) < minDUID || len(value) > maxDUID:
		return nil, fmt.Errorf("a DUID of %d bytes (RFC 8415 11.1: %d to %d)", len(value), minDUID, maxDUID)
	}
	return value, nil
}

// associate reads an identity association.
func (m *message) associate(c code, value []byte) error {
	fixed := ianaLen
	if c == optIATA {
		fixed = iataLen
	}
	if len(value) < fixed {
		return fmt.Errorf("an identity association of %d bytes", len(value))
	}
	if len(m.associations) == maxAssociations {
		return fmt.Errorf("more than %d identity associations", maxAssociations)
	}
	ia := association{code: c, id: binary.BigEndian.Uint32(value)}
	for _, o := range m.associations {
		if o.code == ia.code && o.id == ia.id {
			return fmt.Errorf("the identity association %#x is there twice", ia.id)
		}
	}
	err := options(value[fixed:], func(c code, value []byte) error {
		if c != optAddress {
			return nil
		}
		if len(value) < addressLen || len(ia.addresses) == maxAddresses {
			return fmt.Errorf("address %d of an association, of %d bytes", len(ia.addresses)+1, len(value))
		}
		ia.addresses = append(ia.addresses, netip.AddrFrom16([16]byte(value)))
		return nil
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
	bound := slices.Contains([]kind{request, renew, release, decline}, m.kind) // to one server
	switch {
	case m.client == nil && m.kind != information:
		return errors.New("it has no client identifier")
	case bound && m.server == nil:
		return errors.New("it has no server identifier")
	case m.server != nil && !bound && m.kind != information:
		return errors.New("it has a server identifier, and is for all servers")
	case m.server != nil && !bytes.Equal(m.server, ours):
		return fmt.Errorf("it is for the server %x", m.server)
	case m.kind == information && len(m.associations) > 0:
		return errors.New("it has an identity association")
	}
	return nil
}

// wants reports whether the client asks for an option: all, if it does not say.
func (m *message) wants(c code) bool { return m.requested == nil || slices.Contains(m.requested, c) }
