// What routers and translators do to a packet.

static __always_inline __u16 add(__u16 a, __u16 b)
{
	return fold((__u32)a + b);
}

// update returns what a checksum becomes by a change of what it covers (RFC 1624 3).
static __always_inline __u16 update(__u16 sum, __u16 change)
{
	return ~add(~sum, change);
}

// The longest headers up to what is rewritten: those of TCP over IPv6.
struct heads {
	__u8 bytes[sizeof(struct ipv6hdr) + offsetof(struct tcphdr, check) + 2];
} __attribute__((aligned(8)));

// rewritten returns how much of a transport header may change, from its start.
static __always_inline __u32 rewritten(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check) + 2;
	case IPPROTO_UDP:
		return sizeof(struct udphdr);
	}
	return 6; // up to the identifier of an echo
}

// put_transport rewrites the transport header at h.
static __always_inline void put_transport(void *h, const struct record *r, bool partial)
{
	__u8 protocol = r->was.protocol;
	__u16 *sum = h + sum_at(protocol), change = add(r->pseudo, r->own);
	__be16 *ports = h;

	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		ports[0] = r->is_ports[0];
		ports[1] = r->is_ports[1];
	} else {
		ports[2] = r->is_ports[0]; // the identifier
	}
	if (partial)
		*sum = add(*sum, r->pseudo);
	else if (protocol != IPPROTO_UDP)
		*sum = update(*sum, change);
	else if (*sum) // RFC 768
		*sum = update(*sum, change) ?: 0xffff;
}

// identify returns a new identification for the first of some packets of a session:
// those that the hosts behind an address choose may be the same (RFC 6864 5.3.1).
static __always_inline __be16 identify(const struct record *r, __u32 packets)
{
	return bpf_htons(__sync_fetch_and_add(&shared.ids[r->group % GROUPS], packets) + 1);
}

static __always_inline void put_ipv4(struct heads *heads, const struct record *r, __u32 segments)
{
	struct iphdr *h = (void *)heads->bytes;
	__u16 change = r->header;

	h->saddr = r->is_source.half[1] >> 32;
	h->daddr = r->is_destination.half[1] >> 32;
	if (r->flags & HOP)
		h->ttl -= 1;
	if (r->flags & SESSION && !(h->frag_off & bpf_htons(0x4000))) {
		__be16 id = identify(r, segments);

		change = add(change, add(~h->id, id));
		h->id = id;
	}
	h->check = update(h->check, change);
}

static __always_inline void put_ipv6(struct heads *heads, const struct record *r)
{
	struct ipv6hdr *h = (void *)heads->bytes;

	__builtin_memcpy(&h->saddr, &r->is_source, sizeof(h->saddr));
	__builtin_memcpy(&h->daddr, &r->is_destination, sizeof(h->daddr));
	if (r->flags & HOP)
		h->hop_limit -= 1;
}

// What a router changes of a frame with IPv4, if it leaves the addresses alone.
struct front {
	__u32 stations[3];
	__be16 type;
	__u8 between[offsetof(struct iphdr, ttl)];
	__u8 hops, protocol;
	__u16 sum;
} __attribute__((packed));

_Static_assert(sizeof(struct front) == ETH_HLEN + offsetof(struct iphdr, saddr), "up to the addresses");

// route does what rewrite does, for such a packet. What the sum of the header covers adds up
// to the same as before, so the device's sum of the packet holds as well.
static __always_inline int route(struct __sk_buff *skb, const struct record *r)
{
	struct front front;

	if (bpf_skb_load_bytes(skb, 0, &front, sizeof(front)) < 0)
		return -1;
	__builtin_memcpy(front.stations, r->is_stations, sizeof(front.stations));
	if (r->flags & HOP)
		front.hops -= 1;
	front.sum = update(front.sum, r->header);
	return bpf_skb_store_bytes(skb, 0, &front, sizeof(front), 0);
}

// rewrite makes the packet what the record says.
static __always_inline int rewrite(struct __sk_buff *skb, const struct record *r, const struct packet *p, bool partial, __u32 segments)
{
	struct heads heads;
	__u32 length = (p->flow.version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + rewritten(p->flow.protocol);

	if (p->end < skb->len && bpf_skb_change_tail(skb, p->end, 0) < 0)
		return -1;
	if (p->flow.version == 4 && !(r->flags & (RENAME | SESSION)))
		return route(skb, r);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &heads, length) < 0)
		return -1;
	if (p->flow.version == 4) {
		put_ipv4(&heads, r, segments);
		put_transport(heads.bytes + sizeof(struct iphdr), r, partial);
	} else {
		put_ipv6(&heads, r);
		put_transport(heads.bytes + sizeof(struct ipv6hdr), r, partial);
	}
	// Of the Ethernet header the kernel has no sum.
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &heads, length, BPF_F_RECOMPUTE_CSUM) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, 0, r->is_stations, sizeof(r->is_stations), 0);
}
