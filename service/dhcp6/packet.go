package dhcp6

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
)

// A kind is a message's type (RFC 8415 7.3).
type kind uint8

// The types.
const (
	solicit kind = 1 + iota
	advertise
	request
	confirm
	renew
	rebind
	reply
	release
	decline
	reconfigure
	information
	relayForward
	relayReply
)

var kinds = [...]string{
	solicit: "SOLICIT", advertise: "ADVERTISE", request: "REQUEST", confirm: "CONFIRM", renew: "RENEW",
	rebind: "REBIND", reply: "REPLY", release: "RELEASE", decline: "DECLINE", reconfigure: "RECONFIGURE",
	information: "INFORMATION-REQUEST", relayForward: "RELAY-FORW", relayReply: "RELAY-REPL",
}

// String returns the type's name as the RFC has it.
func (k kind) String() string {
	if int(k) < len(kinds) && kinds[k] != "" {
		return kinds[k]
	}
	return "message type " + strconv.Itoa(int(k))
}

// A code says what an option is: RFC 8415 21, RFC 3646, RFC 4704.
type code uint16

// The options that this server reads or writes.
const (
	optClientID    code = 1
	optServerID    code = 2
	optIANA        code = 3 // identity association for addresses
	optIATA        code = 4 // for temporary addresses
	optAddress     code = 5
	optRequest     code = 6 // list of options that the client wants
	optPreference  code = 7
	optStatus      code = 13
	optRapidCommit code = 14
	optDNS         code = 23
	optSearch      code = 24
	optIAPD        code = 25 // for prefixes
	optFQDN        code = 39
)

// A status is what became of a request (RFC 8415 21.13).
type status uint16

// The status codes.
const (
	success       status = 0
	noAddrsAvail  status = 2
	noBinding     status = 3
	notOnLink     status = 4
	useMulticast  status = 5
	noPrefixAvail status = 6
)

// Lengths in bytes.
const (
	headerLen  = 4  // type and transaction ID
	ianaLen    = 12 // of IA_NA and IA_PD without their options: IAID, T1, T2
	iataLen    = 4
	addressLen = 24 // of an address option without its options: address, preferred and valid lifetime
	maxDUID    = 130
	minDUID    = 3
)

// options calls yield with each option of a field.
func options(field []byte, yield func(c code, value []byte) error) error {
	for len(field) > 0 {
		if len(field) < 4 {
			return fmt.Errorf("%d bytes are left at the end, too few for an option", len(field))
		}
		c, n := code(binary.BigEndian.Uint16(field)), int(binary.BigEndian.Uint16(field[2:]))
		if field = field[4:]; n > len(field) {
			return fmt.Errorf("option %d is cut off", c)
		}
		if err := yield(c, field[:n]); err != nil {
			return err
		}
		field = field[n:]
	}
	return nil
}

// appendOption writes an option, of which the value is what write appends.
func appendOption(b []byte, c code, write func(b []byte) []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	at := len(b)
	b = write(append(b, 0, 0))
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}

// appendValue writes an option.
func appendValue(b []byte, c code, value []byte) []byte {
	return appendOption(b, c, func(b []byte) []byte { return append(b, value...) })
}

// appendStatus writes a status code option.
func appendStatus(b []byte, s status, text string) []byte {
	return appendOption(b, optStatus, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(s)), text...)
	})
}

// appendAddress writes an address option. Its preferred lifetime is the valid one, in
// seconds.
func appendAddress(b []byte, a netip.Addr, lifetime uint32) []byte {
	return appendOption(b, optAddress, func(b []byte) []byte {
		b = append(b, a.AsSlice()...)
		b = binary.BigEndian.AppendUint32(b, lifetime)
		return binary.BigEndian.AppendUint32(b, lifetime)
	})
}
