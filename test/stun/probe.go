package stun

import (
	"fmt"
	"net/netip"
)

// What RFC 4787 4.1 and 5 call the kinds of mapping and filtering.
const (
	EndpointIndependent     = "endpoint-independent"
	AddressDependent        = "address-dependent"
	AddressAndPortDependent = "address-and-port-dependent"
	Untranslated            = "untranslated" // of a mapping: there is no NAT
)

// Config says who probes whom.
type Config struct {
	Servers [2]netip.Addr
	Local   netip.Addr // the client's address
	Other   netip.Addr // a second one of the client's, that plays another host; zero: none
}

// A Behavior is what the NAT does with one protocol.
type Behavior struct {
	Mapping   string     `json:"mapping"`
	Filtering string     `json:"filtering"`
	External  netip.Addr `json:"external"`

	Preserved string `json:"preserved"` // ports that stay as they are
	Parity    bool   `json:"parity"`    // even ports stay even, odd ones odd (RFC 4787 4.2.2)
	Range     bool   `json:"range"`     // ports below 1024 stay there, others stay above (4.2.1)

	// Two hosts that use the same port never look the same outside.
	Distinct string `json:"distinct,omitempty"`
	// What a host sends to another's external endpoint arrives, and from where.
	Hairpin string `json:"hairpin,omitempty"`
}

// A Result is what a probe finds.
type Result struct {
	UDP  Behavior `json:"udp"`
	TCP  Behavior `json:"tcp"`
	ICMP Behavior `json:"icmp"`
}

// Run probes all three protocols.
func Run(c Config) (Result, error) {
	var r Result
	for _, p := range []struct {
		name    string
		open    opener
		hairpin func(Config) (string, error)
		to      *Behavior
	}{
		{"udp", openDatagrams, hairpinDatagrams, &r.UDP},
		{"tcp", openStreams, hairpinStreams, &r.TCP},
		{"icmp", openEchoes, nil, &r.ICMP},
	} {
		var err error
		if *p.to, err = p.open.behavior(c); err == nil && p.hairpin != nil {
			p.to.Hairpin, err = p.hairpin(c)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return r, nil
}

// An opener opens a source at a local address; port 0 stands for any.
type opener func(servers [2]netip.Addr, at netip.AddrPort) (source, error)

func (open opener) behavior(c Config) (Behavior, error) {
	var b Behavior
	for _, f := range []func(Config, *Behavior) error{open.mapping, open.filtering, open.ports, open.distinct} {
		if err := f(c, &b); err != nil {
			return b, err
		}
	}
	return b, nil
}

// mapping asks three endpoints how the same source looks to them (RFC 5780 4.3).
func (open opener) mapping(c Config, b *Behavior) error {
	s, err := open(c.Servers, netip.AddrPortFrom(c.Local, 0))
	if err != nil {
		return err
	}
	defer s.close()
	var seen [3]netip.AddrPort
	for i, e := range []endpoint{primary, otherHost, otherBoth} {
		if seen[i], err = s.mapped(e); err != nil {
			return err
		}
	}
	b.External = seen[0].Addr()
	switch {
	case seen[0] == s.local():
		b.Mapping = Untranslated
	case seen[0] == seen[1]:
		b.Mapping = EndpointIndependent
	case seen[1] == seen[2]:
		b.Mapping = AddressDependent
	default:
		b.Mapping = AddressAndPortDependent
	}
	return nil
}

// filtering has the servers answer from where the source has not sent to (RFC 5780 4.4).
func (open opener) filtering(c Config, b *Behavior) error {
	b.Filtering = AddressAndPortDependent
	for _, kind := range []struct {
		from endpoint
		name string
	}{{otherBoth, EndpointIndependent}, {otherPort, AddressDependent}} {
		// A fresh source each: what was refused once may be remembered.
		s, err := open(c.Servers, netip.AddrPortFrom(c.Local, 0))
		if err != nil {
			return err
		}
		admitted := false
		if _, err = s.mapped(primary); err == nil {
			admitted, err = s.admits(kind.from)
		}
		s.close()
		if err != nil {
			return err
		}
		if admitted {
			b.Filtering = kind.name
			return nil
		}
	}
	return nil
}

// tried are the ports whose mappings are looked at: even and odd ones, below 1024, below
// and within the range that weft keeps from the host.
var tried = []uint16{1000, 1001, 20000, 20001, 50000, 50001}

// ports looks at how ports are chosen.
func (open opener) ports(c Config, b *Behavior) error {
	b.Parity, b.Range = true, true
	preserved := 0
	for _, port := range tried {
		seen, err := open.look(c, c.Local, port, primary)
		if err != nil {
			return err
		}
		if seen.Port() == port {
			preserved++
		}
		b.judge(port, seen.Port())
	}
	b.Preserved = fmt.Sprintf("%d of %d", preserved, len(tried))
	return nil
}

// judge compares a port with what it became.
func (b *Behavior) judge(inside, outside uint16) {
	b.Parity = b.Parity && inside%2 == outside%2
	b.Range = b.Range && (inside < 1024) == (outside < 1024)
}

// look opens a source for a moment and asks how it looks.
func (open opener) look(c Config, local netip.Addr, port uint16, to endpoint) (netip.AddrPort, error) {
	s, err := open(c.Servers, netip.AddrPortFrom(local, port))
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer s.close()
	return s.mapped(to)
}

// distinct has two hosts use the same port, to different servers (RFC 4787 REQ-3).
func (open opener) distinct(c Config, b *Behavior) error {
	if !c.Other.IsValid() {
		return nil
	}
	shared := 0
	for _, port := range tried {
		a, err := open(c.Servers, netip.AddrPortFrom(c.Local, port))
		if err != nil {
			return err
		}
		one, err := a.mapped(primary)
		if err != nil {
			a.close()
			return err
		}
		two, err := open.look(c, c.Other, port, otherHost)
		a.close()
		if err != nil {
			return err
		}
		if one == two {
			shared++
		}
		b.judge(port, two.Port())
	}
	b.Distinct = "always"
	if shared > 0 {
		b.Distinct = fmt.Sprintf("not %d of %d times", shared, len(tried))
	}
	return nil
}
