// How long a frame is, and the frames that a superframe will be cut into.

#define LEAST_SEGMENT 256 // below that the switch judges how many there will be
#define MOST_PADDED 60    // bytes of a frame that may be padded (IEEE 802.3 4.2.3.3)

// headers returns the length of a superframe's IP and transport headers, or zero.
static __always_inline __u32 headers(struct __sk_buff *skb, __be16 type)
{
	__u8 first, protocol, offset;
	__u32 length;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &first, sizeof(first)) < 0)
		return 0;
	switch (type) {
	case bpf_htons(ETH_P_IP):
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, protocol), &protocol, sizeof(protocol)) < 0)
			return 0;
		length = (first & 0xf) * 4;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &protocol, sizeof(protocol)) < 0)
			return 0;
		length = sizeof(struct ipv6hdr);
		break;
	default:
		return 0;
	}
	if (protocol == IPPROTO_UDP)
		return length + sizeof(struct udphdr);
	if (protocol != IPPROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + length + 12, &offset, sizeof(offset)) < 0)
		return 0;
	return length + (offset >> 4) * 4;
}

// cut tells how many segments a superframe becomes, whose packet and headers have these
// lengths.
static __always_inline enum reason cut(const struct record *r, __u32 size, __u32 packet, __u32 headers, __u32 *segments)
{
	if (size < LEAST_SEGMENT || !headers || packet <= headers)
		return SEGMENTS;
	if (headers + size > r->mtu)
		return LENGTH;
	*segments = (packet - headers + size - 1) / size;
	return NONE;
}

// measure tells how many frames leave for one that only its stations are known of.
static __always_inline enum reason measure(struct __sk_buff *skb, const struct record *r, __be16 type, __u32 *segments)
{
	__u32 have = skb->len, packet = have - ETH_HLEN, size = skb->gso_size;

	*segments = 1;
	if (size) // also of a short frame: it may be many of one byte each
		return cut(r, size, packet, headers(skb, type), segments);
	return packet > r->mtu || have < r->least ? LENGTH : NONE;
}

// measure_packet is measure for a packet that was parsed. A router cuts padding off.
static __always_inline enum reason measure_packet(struct __sk_buff *skb, const struct record *r, const struct packet *p, __u32 *segments)
{
	__u32 size = skb->gso_size, have = skb->len, packet = p->end - ETH_HLEN;

	barrier_var(have); // else clang reads either length by one instruction, and the verifier refuses
	*segments = 1;
	if (packet < p->headers || p->end > have)
		return LENGTH;
	if (p->end < have && (size || have > MOST_PADDED))
		return LENGTH;
	if (size)
		return cut(r, size, packet, p->headers, segments);
	if (r->flags & ROUTED)
		have = p->end;
	return packet > r->mtu || have < r->least ? LENGTH : NONE;
}
