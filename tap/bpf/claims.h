// What of the frames for the host's own address is weft's: docs/adr/0013-claims.md.
// The maps belong to the process and are shared by the programs of all its uplinks.

// Kinds of claims, as bits: an endpoint may have both. ClaimKind in claims_linux.go.
#define SESSION 1 // the host's own sockets win
#define FORWARD 2 // always weft's

struct endpoint {
	struct address at;
	__be16 port; // or the identifier of ICMP echo messages
	__u8 protocol;
	__u8 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct endpoint);
	__type(value, __u8); // kinds
} claims SEC(".maps");

// The addresses of all claims: a fragment without ports may be about one of them.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u8);
} claimed SEC(".maps");

struct prefix {
	__u32 bits;
	struct address at;
};

// The prefixes all of whose addresses are weft's.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct prefix);
	__type(value, __u8);
} owned SEC(".maps");

struct datagram {
	struct address source, destination;
	__u32 id;
	__u8 protocol;
	__u8 zero[3];
};

// Whose the datagrams are whose first fragments came by of late.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct datagram);
	__type(value, __u8); // enum owner
} datagrams SEC(".maps");

enum owner { HOST, WEFT, BOTH };

struct ports {
	__be16 source, destination;
};

// kinds returns the kinds of claims there are to an endpoint.
static __always_inline __u8 kinds(const struct address *at, __be16 port, __u8 protocol)
{
	struct endpoint e = {.at = *at, .port = port, .protocol = protocol};
	__u8 *k = bpf_map_lookup_elem(&claims, &e);

	return k ? *k : 0;
}

static __always_inline int is_owned(const struct address *a)
{
	struct prefix p = {.bits = 128, .at = *a};

	return bpf_map_lookup_elem(&owned, &p) != 0;
}

// opens tells whether a TCP segment asks for a new connection.
static __always_inline int opens(struct __sk_buff *skb, struct packet *p)
{
	__u8 flags;

	if (bpf_skb_load_bytes(skb, p->transport + 13, &flags, sizeof(flags)) < 0)
		return 0;
	return (flags & 0x12) == 0x02; // SYN without ACK
}

// A listener of the host's has no use but for what opens a connection; sockets of
// connections, and all of UDP, take everything.
static __always_inline int host_socket_takes(struct __sk_buff *skb, struct packet *p, struct ports ports)
{
	struct bpf_sock_tuple t = {};
	__u32 size = sizeof(t.ipv4);
	struct bpf_sock *s;
	__u32 state;

	if (p->version == 4) {
		t.ipv4.saddr = p->source.word[3];
		t.ipv4.daddr = p->destination.word[3];
		t.ipv4.sport = ports.source;
		t.ipv4.dport = ports.destination;
	} else {
		size = sizeof(t.ipv6);
		__builtin_memcpy(t.ipv6.saddr, &p->source, sizeof(t.ipv6.saddr));
		__builtin_memcpy(t.ipv6.daddr, &p->destination, sizeof(t.ipv6.daddr));
		t.ipv6.sport = ports.source;
		t.ipv6.dport = ports.destination;
	}
	if (p->protocol == IPPROTO_UDP) {
		s = bpf_sk_lookup_udp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
		if (!s)
			return 0;
		bpf_sk_release(s);
		return 1;
	}
	s = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!s)
		return 0;
	state = s->state;
	bpf_sk_release(s);
	return state != BPF_TCP_LISTEN || opens(skb, p);
}

static __always_inline enum owner owner_by_ports(struct __sk_buff *skb, struct packet *p)
{
	struct ports ports;
	__u8 k;

	if (bpf_skb_load_bytes(skb, p->transport, &ports, sizeof(ports)) < 0)
		return HOST;
	k = kinds(&p->destination, ports.destination, p->protocol);
	if (!k)
		return HOST;
	if (!(k & FORWARD) && host_socket_takes(skb, p, ports))
		return HOST;
	return WEFT;
}

// The part of an ICMP or ICMPv6 message that they have in common, if it is an echo.
struct echo {
	__u8 type, code;
	__be16 checksum, id, sequence;
};

// quoted_port returns the source port, or the identifier of an echo request, of the
// packet in an ICMP error, or zero.
static __always_inline __be16 quoted_port(struct __sk_buff *skb, struct packet *p)
{
	struct echo e;
	__be16 port;

	switch (p->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		if (bpf_skb_load_bytes(skb, p->transport, &port, sizeof(port)) < 0)
			return 0;
		return port;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (bpf_skb_load_bytes(skb, p->transport, &e, sizeof(e)) < 0)
			return 0;
		if (e.type == (p->version == 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST))
			return e.id;
	}
	return 0;
}

static __always_inline int is_error(struct packet *p, __u8 type)
{
	if (p->version == 6)
		return type >= ICMPV6_FIRST_ERROR && type <= ICMPV6_LAST_ERROR;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

// Errors about claimed packets and replies to claimed echoes go to both: the host
// may have used the same number towards another station.
static __always_inline enum owner owner_by_message(struct __sk_buff *skb, struct packet *p)
{
	struct packet quoted = {};
	struct echo e;

	if (bpf_skb_load_bytes(skb, p->transport, &e, sizeof(e)) < 0)
		return HOST;
	if (e.type == (p->version == 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY))
		return kinds(&p->destination, e.id, p->protocol) ? BOTH : HOST;
	if (!is_error(p, e.type))
		return HOST;
	if (parse(skb, p->transport + sizeof(e), skb->protocol, &quoted) < 0 || quoted.fragment == LATER_FRAGMENT)
		return HOST;
	return kinds(&quoted.source, quoted_port(skb, &quoted), quoted.protocol) ? BOTH : HOST;
}

static __always_inline enum owner owner_of_whole(struct __sk_buff *skb, struct packet *p)
{
	switch (p->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return owner_by_ports(skb, p);
	case IPPROTO_ICMP:
		return p->version == 4 ? owner_by_message(skb, p) : HOST;
	case IPPROTO_ICMPV6:
		return p->version == 6 ? owner_by_message(skb, p) : HOST;
	}
	return HOST;
}

// The first fragment decides about the whole datagram. One that came before it goes
// to both, and the one of them that never sees the first forgets it.
static __always_inline enum owner owner_of_fragment(struct __sk_buff *skb, struct packet *p)
{
	struct datagram d = {.source = p->source, .destination = p->destination, .id = p->id};
	__u8 owner;

	if (!bpf_map_lookup_elem(&claimed, &p->destination))
		return HOST;
	if (p->version == 4) // RFC 8200 4.5 tells datagrams apart without it
		d.protocol = p->protocol;
	if (p->fragment == LATER_FRAGMENT) {
		__u8 *known = bpf_map_lookup_elem(&datagrams, &d);

		return known ? *known : BOTH;
	}
	owner = owner_of_whole(skb, p);
	bpf_map_update_elem(&datagrams, &d, &owner, BPF_ANY);
	return owner;
}

// owner_of tells whose a frame is that came for the host's own MAC address.
static __noinline int owner_of(struct __sk_buff *skb)
{
	struct packet p = {};

	if (skb->vlan_present || parse(skb, ETH_HLEN, skb->protocol, &p) < 0)
		return HOST;
	if (is_owned(&p.destination))
		return WEFT;
	if (p.fragment != NO_FRAGMENT)
		return owner_of_fragment(skb, &p);
	return owner_of_whole(skb, &p);
}

// The part of an ARP packet for IPv4 over Ethernet (RFC 826) in front of its
// addresses, and where the address stands that it is about.
#define ARP_REQUEST_HEAD 0x0001080006040001ull
#define ARP_TARGET (ETH_HLEN + 24)

// asks_for_owned tells whether the frame, which came for the host's MAC address, is
// an ARP request for an address of weft's: so a neighbor probes whether the address
// is still there (RFC 1122 2.3.2.1). The IPv6 way needs no such look, as it is sent to the
// very address.
static __noinline int asks_for_owned(struct __sk_buff *skb)
{
	struct address a;
	__be64 head;
	__be32 target;

	if (skb->vlan_present || skb->protocol != bpf_htons(ETH_P_ARP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &head, sizeof(head)) < 0 || head != bpf_cpu_to_be64(ARP_REQUEST_HEAD))
		return 0;
	if (bpf_skb_load_bytes(skb, ARP_TARGET, &target, sizeof(target)) < 0)
		return 0;
	a = mapped(target);
	return is_owned(&a);
}

// may_ask tells whether a group frame may be the question who has an address: ARP,
// or ICMPv6's neighbor solicitation (RFC 4861 4.3).
static __always_inline int may_ask(struct __sk_buff *skb)
{
	__u8 next;

	if (skb->vlan_present)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return 1;
	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, sizeof(next)) < 0)
		return 0;
	return next == IPPROTO_ICMPV6;
}
