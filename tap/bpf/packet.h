// Views of a frame's headers, for frames that may lie in pieces: everything is
// copied out before it is looked at. The verifier wants all loops bounded.

#define MAX_EXTENSIONS 4 // IPv6 extension headers that are looked through

// Messages of ICMP (RFC 792) and ICMPv6 (RFC 4443, RFC 4861). The kernel's header of the
// former needs a libc.
enum {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	ICMPV6_FIRST_ERROR = 1, // unreachable, too big, time exceeded
	ICMPV6_LAST_ERROR = 4,  // parameter problem
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
	ICMPV6_ADVERTISEMENT = 136,
};

// An address of either family; IPv4 is mapped into IPv6 (RFC 4291 2.5.5.2).
struct address {
	__be32 word[4];
};

enum { NO_FRAGMENT, FIRST_FRAGMENT, LATER_FRAGMENT };

struct packet {
	struct address source, destination;
	__u32 transport; // offset in the frame of what is behind the IP headers
	__u32 id;        // of the datagram, if this is a fragment
	__u8 version;
	__u8 protocol; // of what is behind the IP headers
	__u8 fragment;
};

static __always_inline struct address mapped(__be32 a)
{
	struct address to = {{0, 0, bpf_htonl(0xffff), a}};

	return to;
}

static __always_inline struct address from_ipv6(const struct in6_addr *a)
{
	struct address to;

	__builtin_memcpy(&to, a, sizeof(to));
	return to;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct iphdr h;
	__u16 offset;

	if (bpf_skb_load_bytes(skb, at, &h, sizeof(h)) < 0 || h.version != 4 || h.ihl < 5)
		return -1;
	p->version = 4;
	p->source = mapped(h.saddr);
	p->destination = mapped(h.daddr);
	p->transport = at + h.ihl * 4;
	p->protocol = h.protocol;
	p->id = h.id;
	offset = bpf_ntohs(h.frag_off);
	if (offset & 0x1fff) // in units of 8 bytes
		p->fragment = LATER_FRAGMENT;
	else if (offset & 0x2000) // more fragments
		p->fragment = FIRST_FRAGMENT;
	return 0;
}

// An IPv6 extension header (RFC 8200 4); of all but the fragment header only the
// first two bytes have this meaning.
struct extension {
	__u8 next;
	__u8 length;
	__be16 offset; // in units of 8 bytes in the upper 13 bits; the last says that more follow
	__be32 id;
};

// extension_length returns zero for what is no extension header.
static __always_inline __u32 extension_length(__u8 protocol, const struct extension *h)
{
	switch (protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return (h->length + 1) * 8;
	case IPPROTO_AH:
		return (h->length + 2) * 4; // RFC 4302 2.2
	case IPPROTO_FRAGMENT:
		return sizeof(*h);
	}
	return 0;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct ipv6hdr h;

	if (bpf_skb_load_bytes(skb, at, &h, sizeof(h)) < 0 || h.version != 6)
		return -1;
	p->version = 6;
	p->source = from_ipv6(&h.saddr);
	p->destination = from_ipv6(&h.daddr);
	p->transport = at + sizeof(h);
	p->protocol = h.nexthdr;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		struct extension e = {};
		__u32 length;

		if (extension_length(p->protocol, &e) == 0)
			return 0;
		if (bpf_skb_load_bytes(skb, p->transport, &e, sizeof(e)) < 0)
			return -1;
		length = extension_length(p->protocol, &e);
		if (p->protocol == IPPROTO_FRAGMENT) {
			__u16 offset = bpf_ntohs(e.offset);

			p->id = e.id;
			if (offset & ~7)
				p->fragment = LATER_FRAGMENT;
			else if (offset & 1)
				p->fragment = FIRST_FRAGMENT;
		}
		p->protocol = e.next;
		p->transport += length;
		if (p->fragment == LATER_FRAGMENT)
			return 0;
	}
	return 0;
}

// parse looks at the IP headers at an offset of the frame and fills in p, which was
// zero. It fails if they are cut short or of another version. Behind too many
// extension headers p tells their protocol, which nobody claims.
static __noinline int parse(struct __sk_buff *skb, __u32 at, __be16 type, struct packet *p)
{
	switch (type) {
	case bpf_htons(ETH_P_IP):
		return parse_ipv4(skb, at, p);
	case bpf_htons(ETH_P_IPV6):
		return parse_ipv6(skb, at, p);
	}
	return -1;
}
