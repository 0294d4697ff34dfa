package dhcp4

import (
	"math"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// How many bytes of options the fields file and sname hold, with an end: the codec keeps
// their last byte zero.
const (
	fileRoom  = fileLen - 1
	snameRoom = snameLen - 1

	fileLen  = cookieAt - fileAt
	snameLen = fileAt - snameAt
)

// lengthOf returns how many bytes an option takes. One of more than 255 is several
// (RFC 3396).
func lengthOf(value []byte) int {
	parts := max(1, (len(value)+math.MaxUint8-1)/math.MaxUint8)
	return len(value) + 2*parts
}

// pack puts options into a reply that may have room bytes, beside those that are in it:
// what does not fit where options belong goes into the field file, else into sname
// (RFC 2131 4.1), else it is left out.
func pack(p *dhcpv4.DHCPv4, told []option, room int) {
	room -= fixedLen + 1 // and the end
	for _, value := range p.Options {
		room -= lengthOf(value)
	}
	total := 0
	for _, o := range told {
		total += lengthOf(o.value)
	}
	if total > room {
		room -= lengthOf([]byte{0}) // option overload
	}
	var file, sname []byte
	for _, o := range told {
		n := lengthOf(o.value)
		switch {
		case n <= room:
			p.Options[o.code.Code()] = o.value
			room -= n
		case len(o.value) <= math.MaxUint8 && len(file)+n < fileRoom:
			file = o.append(file)
		case len(o.value) <= math.MaxUint8 && len(sname)+n < snameRoom:
			sname = o.append(sname)
		}
	}
	overload := byte(0)
	if file != nil {
		overload |= overloadFile
		p.BootFileName = string(append(file, dhcpv4.OptionEnd.Code()))
	}
	if sname != nil {
		overload |= overloadSname
		p.ServerHostName = string(append(sname, dhcpv4.OptionEnd.Code()))
	}
	if overload != 0 {
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{overload}))
	}
}

// append writes the option behind what is in a field already.
func (o option) append(field []byte) []byte {
	return append(append(field, o.code.Code(), byte(len(o.value))), o.value...)
}
