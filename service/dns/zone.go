package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Seconds for which answers about the network may be kept: leases come and go.
const (
	positiveTTL = 30
	negativeTTL = 5
)

// gatewayLabels stand for the gateway, which is where guests reach the host.
var gatewayLabels = []string{"gateway", "host"}

// A zone is what the gateway has authority for.
type zone struct {
	domain  string // canonical: lower case, with the last dot
	gateway []netip.Addr
	subnets []netip.Prefix
	names   Names
}

// lookup returns the answer to a question about the zone; !ok: it is about another.
func (z *zone) lookup(q dns.Question) (r result, ok bool) {
	name := dns.CanonicalName(q.Name)
	if z.domain != "" && dns.IsSubDomain(z.domain, name) {
		return z.forward(q, name), true
	}
	p, whole := parseReverse(name)
	for _, subnet := range z.subnets {
		if covers(subnet, p) {
			return z.reverse(q, subnet, p, whole), true
		}
	}
	return result{}, false
}

// forward answers a question about a name of the domain.
func (z *zone) forward(q dns.Question, name string) result {
	if name == z.domain {
		return z.apex(q, z.domain)
	}
	label := strings.TrimSuffix(name, "."+z.domain)
	var addresses []netip.Addr
	switch {
	case slices.Contains(gatewayLabels, label):
		addresses = z.gateway
	case !strings.ContainsAny(label, `.\`): // names of guests are plain labels
		addresses = z.names.Lookup(label)
	}
	if len(addresses) == 0 {
		return result{rcode: dns.RcodeNameError, soa: soa(z.domain, z.server(), negativeTTL)}
	}
	return z.found(z.domain, addressRecords(q, addresses))
}

// reverse answers a question about the reverse name of p, an address of the subnet or
// a part of it. !whole: the name has more labels, or others, in front of that.
func (z *zone) reverse(q dns.Question, subnet, p netip.Prefix, whole bool) result {
	apex := apexOf(subnet, p.Addr())
	if whole && reverseName(p) == apex {
		return z.apex(q, apex)
	}
	if whole && !p.IsSingleIP() {
		return z.found(apex, nil) // there may be names below it (RFC 8020 2)
	}
	label := ""
	switch {
	case !whole:
	case slices.Contains(z.gateway, p.Addr()):
		label = gatewayLabels[0]
	default:
		label = z.names.Reverse(p.Addr())
	}
	if label == "" {
		return result{rcode: dns.RcodeNameError, soa: soa(apex, z.server(), negativeTTL)}
	}
	var answers []dns.RR
	if q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY {
		answers = []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR, positiveTTL), Ptr: label + "." + z.domain}}
	}
	return z.found(apex, answers)
}

// server returns the name of the gateway, which is the zone's name server.
func (z *zone) server() string { return gatewayLabels[0] + "." + z.domain }

// apex answers a question about the apex of a zone.
func (z *zone) apex(q dns.Question, apex string) result {
	var answers []dns.RR
	if q.Qtype == dns.TypeSOA || q.Qtype == dns.TypeANY {
		answers = append(answers, soa(apex, z.server(), negativeTTL))
	}
	if q.Qtype == dns.TypeNS || q.Qtype == dns.TypeANY {
		answers = append(answers, &dns.NS{Hdr: header(apex, dns.TypeNS, positiveTTL), Ns: z.server()})
	}
	return z.found(apex, answers)
}

// found answers a question about a name that exists. Without records of the wanted type,
// that is NODATA (RFC 2308 2.2).
func (z *zone) found(apex string, answers []dns.RR) result {
	if len(answers) == 0 {
		return result{soa: soa(apex, z.server(), negativeTTL)}
	}
	return result{answers: answers}
}

// addressRecords returns those of the addresses that are asked for.
func addressRecords(q dns.Question, addresses []netip.Addr) (rrs []dns.RR) {
	for _, a := range addresses {
		switch {
		case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			rrs = append(rrs, &dns.A{Hdr: header(q.Name, dns.TypeA, positiveTTL), A: a.AsSlice()})
		case a.Is6() && !a.IsLinkLocalUnicast() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
			rrs = append(rrs, &dns.AAAA{Hdr: header(q.Name, dns.TypeAAAA, positiveTTL), AAAA: a.AsSlice()})
		}
	}
	return rrs
}

func header(name string, t uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
}

// soa returns the SOA record of a zone whose negative answers live for ttl seconds (RFC
// 2308 5). Nobody transfers the zone, so its serial means nothing.
func soa(apex, server string, ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr: header(apex, dns.TypeSOA, ttl), Ns: server, Mbox: "nobody.invalid.",
		Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: ttl,
	}
}
