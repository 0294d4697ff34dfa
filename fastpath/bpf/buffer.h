// What the kernel's buffer says that programs are not shown: what is left to do to the
// frame. A guest may say anything here.

struct skb_shared_info {
	unsigned int gso_type;
} __attribute__((preserve_access_index));

// Offsets are relocated when the program is loaded.
struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start, csum_offset; // from the start of the buffer, from there
	__u16 mac_header;              // from the start of the buffer
	unsigned char *head;
	unsigned int end;              // where the shared info is, from head
} __attribute__((preserve_access_index));

// include/linux/skbuff.h
#define CHECKSUM_PARTIAL 3
#define GSO_TCPV4 (1 << 0)
#define GSO_TCPV6 (1 << 4)
#define GSO_UDP_L4 (1 << 17)
#define GSO_BESIDES (1 << 1 | 1 << 2 | 1 << 3 | 1 << 30) // of a guest's, with ECN, with fixed identifications (before 6.18, since)

// summed tells whether the device has to complete the checksum, and if it may: it would
// change addresses, ports or the type of a message just as well. What a datagram carries
// is nobody's business.
static __always_inline enum reason summed(struct __sk_buff *skb, const struct packet *p, bool *partial)
{
	struct sk_buff *k = (void *)skb;
	__u16 start;

	*partial = BPF_CORE_READ_BITFIELD_PROBED(k, ip_summed) == CHECKSUM_PARTIAL;
	if (!*partial)
		return NONE;
	start = BPF_CORE_READ(k, csum_start) - BPF_CORE_READ(k, mac_header);
	if (start == p->transport && BPF_CORE_READ(k, csum_offset) == sum_at(p->flow.protocol))
		return NONE;
	*partial = false;
	return p->flow.protocol == IPPROTO_UDP && start >= p->transport + sizeof(struct udphdr) ? NONE : CHECKSUM;
}

// kind returns what a superframe of the packet's kind is, or zero.
static __always_inline __u32 kind(const struct packet *p)
{
	switch (p->flow.protocol) {
	case IPPROTO_TCP:
		return p->flow.version == 4 ? GSO_TCPV4 : GSO_TCPV6;
	case IPPROTO_UDP:
		return GSO_UDP_L4;
	}
	return 0;
}

// divides tells whether a superframe is what its headers say, and no tunnel's.
static __always_inline bool divides(struct __sk_buff *skb, const struct packet *p)
{
	struct sk_buff *k = (void *)skb;
	struct skb_shared_info *s = (void *)(BPF_CORE_READ(k, head) + BPF_CORE_READ(k, end));
	__u32 type = BPF_CORE_READ(s, gso_type) & ~GSO_BESIDES;
	bool partial;

	return type && type == kind(p) && !summed(skb, p, &partial) && partial;
}
