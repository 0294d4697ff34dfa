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

// Linux 6.2 has them. Earlier ones read by a helper, which a frame of many segments feels.
void *bpf_cast_to_kern_ctx(void *skb) __ksym __weak;
void *bpf_rdonly_cast(const void *p, __u32 type) __ksym __weak;

#define is_direct() (bpf_cast_to_kern_ctx && bpf_rdonly_cast)
#define get(p, field) (is_direct() ? (p)->field : BPF_CORE_READ(p, field))

static __always_inline struct sk_buff *buffer(struct __sk_buff *skb)
{
	return is_direct() ? bpf_cast_to_kern_ctx(skb) : (void *)skb;
}

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
	struct sk_buff *k = buffer(skb);
	__u16 start;

	*partial = (is_direct() ? BPF_CORE_READ_BITFIELD(k, ip_summed) : BPF_CORE_READ_BITFIELD_PROBED(k, ip_summed)) == CHECKSUM_PARTIAL;
	if (!*partial)
		return NONE;
	start = get(k, csum_start) - get(k, mac_header);
	if (start == p->transport && get(k, csum_offset) == sum_at(p->flow.protocol))
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
	struct sk_buff *k = buffer(skb);
	struct skb_shared_info *s = (void *)(get(k, head) + get(k, end));
	__u32 type;
	bool partial;

	if (is_direct())
		s = bpf_rdonly_cast(s, bpf_core_type_id_kernel(struct skb_shared_info));
	type = get(s, gso_type) & ~GSO_BESIDES;
	return type && type == kind(p) && !summed(skb, p, &partial) && partial;
}
