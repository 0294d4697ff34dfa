package dns

import (
	"net/netip"

	"github.com/miekg/dns"
)

// emptyTTL is how many seconds negative answers about the zones below live (RFC 6303 3).
const emptyTTL = 10800

const localhost = "localhost."

// emptyZones are names that nobody has: asking for them would only tell others about
// the guests.
var emptyZones = []string{
	"invalid.",       // RFC 6761 6.4
	"onion.",         // RFC 7686 2
	"resolver.arpa.", // RFC 9462: another resolver's encrypted ways are none to this one
}

// localReverse are the addresses that mean the same host or link everywhere, or nobody
// (RFC 6303 4.2 to 4.6).
var localReverse = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32",
	"::/127", "fe80::/10", "2001:db8::/32",
)

// privateRanges are the addresses that mean something to a site only (RFC 6303 4.1 and
// 4.4, RFC 7793).
var privateRanges = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8")

func prefixes(texts ...string) (p []netip.Prefix) {
	for _, s := range texts {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// special answers a question about a name of special use; !ok: it is none.
func special(q dns.Question) (r result, ok bool) {
	name := dns.CanonicalName(q.Name)
	if dns.IsSubDomain(localhost, name) { // RFC 6761 6.3
		loopback := []netip.Addr{loopback4, netip.IPv6Loopback()}
		if rrs := addressRecords(q, loopback); len(rrs) > 0 {
			return result{answers: rrs}, true
		}
		return result{soa: soa(localhost, localhost, emptyTTL)}, true
	}
	for _, z := range emptyZones {
		if dns.IsSubDomain(z, name) {
			return empty(q, z), true
		}
	}
	p, whole := parseReverse(name)
	for _, zone := range localReverse {
		if !covers(zone, p) {
			continue
		}
		if whole && p.IsSingleIP() && p.Addr().IsLoopback() && q.Qtype == dns.TypePTR {
			return result{answers: []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR, emptyTTL), Ptr: localhost}}}, true
		}
		return empty(q, apexOf(zone, p.Addr())), true
	}
	return result{}, false
}

// empty answers a question about a name of an empty zone (RFC 6303 3).
func empty(q dns.Question, zone string) result {
	record := soa(zone, zone, emptyTTL)
	if dns.CanonicalName(q.Name) != zone {
		return result{rcode: dns.RcodeNameError, soa: record}
	}
	switch q.Qtype {
	case dns.TypeSOA:
		return result{answers: []dns.RR{record}}
	case dns.TypeNS:
		return result{answers: []dns.RR{&dns.NS{Hdr: header(zone, dns.TypeNS, emptyTTL), Ns: zone}}}
	}
	return result{soa: record}
}

// privateReverse returns the zone of a reverse name of a private address, and whether
// it is one.
func privateReverse(name string) (zone string, ok bool) {
	p, _ := parseReverse(dns.CanonicalName(name))
	for _, r := range privateRanges {
		if covers(r, p) {
			return apexOf(r, p.Addr()), true
		}
	}
	return "", false
}

// isPublic reports whether the address is one of the Internet.
func isPublic(a netip.Addr) bool {
	for _, r := range privateRanges {
		if r.Contains(a.WithZone("")) {
			return false
		}
	}
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsPrivate()
}
