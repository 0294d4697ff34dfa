// How long a frame is, and the frames that a superframe will be cut into.

#define LEAST_SEGMENT 256 // below that the switch judges how many there will be
#define MOST_PADDED 60    // bytes of a frame that may be padded (IEEE 802.3 4.2.3.3)

// cut tells how many segments a superframe becomes, whose packet has that length.
static __always_inline enum reason cut(struct __sk_buff *skb, const struct record *r, const struct packet *p, __u32 length, __u32 *segments)
{
	__u32 size = skb->gso_size;

	if (size < LEAST_SEGMENT || length <= p->headers || !divides(skb, p))
		return SEGMENTS;
	if (p->headers + size > r->mtu)
		return LENGTH;
	*segments = (length - p->headers + size - 1) / size;
	return NONE;
}

// measure tells how many frames leave for one that only its stations are known of.
static __always_inline enum reason measure(struct __sk_buff *skb, const struct record *r, __be16 type, __u32 *segments)
{
	__u32 have = skb->len, length = have - ETH_HLEN;

	*segments = 1;
	if (skb->gso_size) { // also of a short frame: it may be many of one byte each
		struct packet p = {};

		return parse(skb, type, &p) < 0 ? SEGMENTS : cut(skb, r, &p, length, segments);
	}
	return length > r->mtu || have < r->least ? LENGTH : NONE;
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
		return cut(skb, r, p, packet, segments);
	if (r->flags & ROUTED)
		have = p->end;
	return packet > r->mtu || have < r->least ? LENGTH : NONE;
}
