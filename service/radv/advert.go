package radv

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"weft/frame"
)

const (
	ipv6Len  = 40
	hopLimit = 255 // proves that no router was in between (RFC 4861 6.1.2)

	// withdrawFor is how long something is taken back that was advertised: as long as a
	// host may keep an address of a withdrawn prefix (RFC 4862 5.5.3 e).
	withdrawFor = 2 * time.Hour

	currentHopLimit = 64 // that hosts should use

	maxFrame = frame.EthernetLen + minMTU // an advertisement is one packet, on any link
)

// all is where multicast advertisements go.
var all = solicitor{netip.MustParseAddr("ff02::1"), 0x3333_0000_0001}

// A withdrawal is something once advertised that is to be forgotten: it is advertised
// with a lifetime of zero for a while.
type withdrawal struct {
	option ndp.Option
	until  time.Time
}

// frame returns the complete Ethernet frame of an advertisement.
func (r *Radv) frame(to solicitor, lifetime time.Duration) []byte {
	p, err := r.c.frame(to, lifetime, r.withdrawn)
	if err != nil {
		panic("radv: a configuration that was checked: " + err.Error())
	}
	return p
}

// frame returns the complete Ethernet frame of an advertisement of c, or what cannot be
// told in one.
func (c *Config) frame(to solicitor, lifetime time.Duration, withdrawn []withdrawal) ([]byte, error) {
	ra := &ndp.RouterAdvertisement{
		CurrentHopLimit:      currentHopLimit,
		ManagedConfiguration: c.Managed,
		OtherConfiguration:   c.Other,
		RouterLifetime:       lifetime,
		Options:              c.options(),
	}
	for _, w := range withdrawn {
		ra.Options = append(ra.Options, w.option)
	}
	m, err := ndp.MarshalMessageChecksum(ra, c.Source, to.addr)
	if err != nil {
		return nil, err
	}
	p := make([]byte, frame.EthernetLen+ipv6Len, frame.EthernetLen+ipv6Len+len(m))
	to.mac.Put(p)
	c.MAC.Put(p[6:])
	p[12], p[13] = byte(frame.EtherTypeIPv6>>8), byte(frame.EtherTypeIPv6&0xff)
	h := frame.IPv6(p[frame.EthernetLen:])
	h[0], h[6], h[7] = 6<<4, byte(frame.ProtocolICMPv6), hopLimit
	h.SetPayloadLen(len(m))
	h.SetSrc(c.Source)
	h.SetDst(to.addr)
	return append(p, m...), nil
}

// options returns the options of the advertisements of c.
func (c *Config) options() []ndp.Option {
	mac := make(net.HardwareAddr, 6)
	c.MAC.Put(mac)
	options := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}}
	if c.MTU != 0 {
		options = append(options, ndp.NewMTU(uint32(c.MTU)))
	}
	return append(options, c.promises(3*c.MaxInterval)...)
}

// promises returns the options that hosts remember for a time, one for each thing.
// What has no lifetime of its own has the given one.
func (c *Config) promises(lifetime time.Duration) (options []ndp.Option) {
	for _, p := range c.Prefixes {
		options = append(options, &ndp.PrefixInformation{
			Prefix: p.Prefix.Addr(), PrefixLength: uint8(p.Prefix.Bits()),
			OnLink: p.OnLink, AutonomousAddressConfiguration: p.Autonomous,
			ValidLifetime: p.Valid, PreferredLifetime: p.Preferred,
		})
	}
	for _, r := range c.Routes {
		options = append(options, &ndp.RouteInformation{
			Prefix: r.Masked().Addr(), PrefixLength: uint8(r.Bits()), RouteLifetime: lifetime,
		})
	}
	for _, a := range c.DNS {
		options = append(options, &ndp.RecursiveDNSServer{Lifetime: lifetime, Servers: []netip.Addr{a}})
	}
	for _, d := range c.Search {
		options = append(options, &ndp.DNSSearchList{Lifetime: lifetime, DomainNames: []string{d}})
	}
	return options
}

// withdraw takes back what old promised and the present configuration does not, and
// forgets the withdrawals that are done or no longer true.
func (r *Radv) withdraw(now time.Time, old Config) {
	kept := make(map[any]bool)
	for _, o := range r.c.promises(0) {
		kept[subject(o)] = true
	}
	for _, o := range old.promises(0) {
		if p, ok := o.(*ndp.PrefixInformation); ok {
			p.ValidLifetime, p.PreferredLifetime = 0, 0
		}
		if !kept[subject(o)] {
			r.withdrawn = slices.DeleteFunc(r.withdrawn, func(w withdrawal) bool { return subject(w.option) == subject(o) })
			r.withdrawn = append(r.withdrawn, withdrawal{o, now.Add(withdrawFor)})
		}
	}
	r.withdrawn = slices.DeleteFunc(r.withdrawn, func(w withdrawal) bool { return kept[subject(w.option)] })
	for len(r.withdrawn) > 0 && len(r.frame(all, 0)) > maxFrame {
		r.withdrawn = r.withdrawn[1:] // what was taken back longest ago is best known
	}
}

// subject returns what an option is about, whatever it says of it.
func subject(o ndp.Option) any {
	type route struct{ netip.Prefix }
	switch o := o.(type) {
	case *ndp.PrefixInformation:
		return netip.PrefixFrom(o.Prefix, int(o.PrefixLength))
	case *ndp.RouteInformation:
		return route{netip.PrefixFrom(o.Prefix, int(o.PrefixLength))}
	case *ndp.RecursiveDNSServer:
		return o.Servers[0]
	case *ndp.DNSSearchList:
		return o.DomainNames[0]
	}
	return nil
}
