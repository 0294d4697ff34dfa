// The short cut of small frames between TAPs: XDP runs before the kernel makes a frame its
// own. But there nothing is known of the virtio-net header: not whether the checksum is
// still to be completed, nor where. So what goes this way is what can be judged by its bytes
// alone, and everything else goes on to weftfp_in.

#define SMALL 256 // bytes of a frame; the daemon's fastpath.SuitsXDP goes by it too

// The TAPs that frames may go to this way, by ifindex. The kernel looks for the device in
// the namespace of whoever writes the entry, and forgets one that leaves it.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} taps SEC(".maps");

// What is looked at of the kernel's.
struct netdev_rx_queue {
} __attribute__((preserve_access_index));

struct net_device {
	struct netdev_rx_queue *_rx;
	unsigned int num_rx_queues;
} __attribute__((preserve_access_index));

struct xdp_rxq_info {
	struct net_device *dev;
} __attribute__((preserve_access_index));

struct xdp_buff {
	struct xdp_rxq_info *rxq;
} __attribute__((preserve_access_index));

// is_late tells whether the kernel has made the frame its own all the same and just shows
// it, as it does with superframes, however short. It came by a queue of the device's then,
// and not by a descriptor's.
static __always_inline bool is_late(struct xdp_md *ctx)
{
	struct xdp_rxq_info *from = BPF_CORE_READ((struct xdp_buff *)ctx, rxq);
	struct net_device *device = BPF_CORE_READ(from, dev);
	__u64 first = (__u64)BPF_CORE_READ(device, _rx);
	__u64 size = bpf_core_type_size(struct netdev_rx_queue) * BPF_CORE_READ(device, num_rx_queues);

	return !first || (__u64)from - first < size;
}

// A small packet is whole, fills its frame, and has neither options nor extension headers.
struct small {
	void *transport, *end;
	__u32 length; // from transport to end
	__u8 protocol;
	__u64 pseudo; // sum of the pseudo-header by words of up to 32 bits; zero: there is none
};

// fold64 folds such a sum (RFC 1071).
static __always_inline __u16 fold64(__u64 sum)
{
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 16) + (__u16)sum;
	sum = (sum >> 16) + (__u16)sum;
	return (sum >> 16) + sum;
}

static __always_inline int small_ipv4(void *at, __u32 length, struct small *s)
{
	struct iphdr *h = at;

	if (at + sizeof(*h) > s->end || *(__u8 *)at != 0x45 || h->frag_off & bpf_htons(0x3fff) || bpf_ntohs(h->tot_len) != length)
		return -1;
	s->transport = at + sizeof(*h);
	s->length = length - sizeof(*h);
	s->protocol = h->protocol;
	if (s->protocol != IPPROTO_ICMP)
		s->pseudo = (__u64)h->saddr + h->daddr + bpf_htons(s->protocol) + bpf_htons(s->length);
	return s->protocol == IPPROTO_ICMPV6 ? -1 : 0;
}

static __always_inline int small_ipv6(void *at, __u32 length, struct small *s)
{
	struct ipv6hdr *h = at;
	__u32 *words = (void *)&h->saddr;

	if (at + sizeof(*h) > s->end || h->version != 6 || bpf_ntohs(h->payload_len) + sizeof(*h) != length)
		return -1;
	s->transport = at + sizeof(*h);
	s->length = length - sizeof(*h);
	s->protocol = h->nexthdr;
	s->pseudo = bpf_htons(s->protocol) + bpf_htons(s->length);
#pragma unroll
	for (int i = 0; i < 8; i++)
		s->pseudo += words[i];
	return s->protocol == IPPROTO_ICMP ? -1 : 0;
}

// small_sum returns where the checksum is of a packet that may go this way, or null. UDP's
// may be missing, and then nobody can tell whether one of a packet inside is complete.
static __always_inline __u16 *small_sum(const struct small *s)
{
	struct tcphdr *tcp = s->transport;
	struct udphdr *udp = s->transport;
	__u8 *type = s->transport;

	if (s->protocol == IPPROTO_TCP)
		return (void *)(tcp + 1) > s->end ? 0 : &tcp->check;
	if (s->transport + ECHO_LEN > s->end)
		return 0;
	switch (s->protocol) {
	case IPPROTO_UDP:
		return bpf_ntohs(udp->len) != s->length || !udp->check || is_dhcp(&udp->source) ? 0 : &udp->check;
	case IPPROTO_ICMP:
		return type[1] || (type[0] != 8 && type[0] != 0) ? 0 : s->transport + 2;
	case IPPROTO_ICMPV6:
		return type[1] || (type[0] != 128 && type[0] != 129) ? 0 : s->transport + 2;
	}
	return 0;
}

// total adds up the pseudo-header and all that follows, the checksum too.
static __always_inline __u64 total(const struct small *s)
{
	void *at = s->transport, *end = s->end;
	__u64 sum = s->pseudo;

	for (int i = 0; i < SMALL / 16 && at + 16 <= end; i++, at += 16) {
		__u32 *words = at;

		sum += (__u64)words[0] + words[1] + words[2] + words[3];
	}
	for (int i = 0; i < 3 && at + 4 <= end; i++, at += 4)
		sum += *(__u32 *)at;
	if (at + 2 <= end) {
		sum += *(__u16 *)at;
		at += 2;
	}
	if (at + 1 <= end)
		sum += bpf_htons(*(__u8 *)at << 8);
	return sum;
}

// settle sees to it that the packet's checksum is right. One that is still to be completed
// is the folded sum of the pseudo-header; where a complete one happens to be the same, to
// complete it again changes nothing. One that is wrong otherwise may belong to a tunnel,
// inside which something is to be completed: the kernel knows what.
static __always_inline int settle(const struct small *s)
{
	__u16 *check = small_sum(s), sum;

	if (!check)
		return -1;
	if (!s->pseudo || *check != fold64(s->pseudo))
		return fold64(total(s)) == 0xffff ? 0 : -1;
	sum = ~fold64(total(s) - s->pseudo);
	*check = sum ? sum : 0xffff; // zero says that UDP has none (RFC 768)
	return 0;
}

// mend makes the frame one that needs no virtio-net header, or fails and leaves it as it is.
static __always_inline int mend(void *data, void *end, __be16 type)
{
	struct small s = {.end = end};
	__u32 length = end - data - ETH_HLEN;

	switch (type) {
	case bpf_htons(ETH_P_IP):
		return small_ipv4(data + ETH_HLEN, length, &s) < 0 ? -1 : settle(&s);
	case bpf_htons(ETH_P_IPV6):
		return small_ipv6(data + ETH_HLEN, length, &s) < 0 ? -1 : settle(&s);
	}
	return -1;
}

// slow returns where a record of stations, which tells nothing of TCP, has when a frame last
// had to go to tc, in ticks.
static __always_inline __u32 *slow(struct record *r)
{
	return &r->next;
}

// shortcut redirects a frame if its record says so. vhost-net hands over many frames at once,
// and those redirected leave when all were seen: behind one that went to tc and was sent before
// them. So stations between which some frame goes to tc have no short cut for a while.
static __always_inline int shortcut(struct xdp_md *ctx, struct record *r, __be16 type)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 now = ticks(), length = end - data;

	if (usable(r, now) || r->state != DIRECT || r->flags & ~MARKED)
		return XDP_PASS;
	if (length <= SMALL && now - *slow(r) < 2)
		return XDP_PASS;
	// Before the frame is changed, which would be wrong for any other way.
	if (bpf_redirect_map(&taps, r->out, XDP_PASS) != XDP_REDIRECT)
		return XDP_PASS;
	if (length > SMALL || length < r->least || length - ETH_HLEN > r->mtu || is_late(ctx) || mend(data, end, type) < 0) {
		if (*slow(r) != now)
			*slow(r) = now;
		return XDP_PASS;
	}
	tally(r, now, length, 1);
	return XDP_REDIRECT;
}

// Of a TAP: what whoever holds its descriptor sends. Frames in several pieces are shown to it
// by their first, as to have them in one piece costs more.
SEC("xdp.frags")
int weftfp_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct arrival a = {.place = ctx->ingress_ifindex << 1};
	__u32 *words = data;
	struct record *r;

	if (!(shared.kinds[a.place % PLACES] & STATIONS) || data + ETH_HLEN > end)
		return XDP_PASS;
	a.type = ((struct ethhdr *)data)->h_proto;
	if (a.type == bpf_htons(ETH_P_8021Q) || a.type == bpf_htons(ETH_P_8021AD))
		return XDP_PASS;
	a.stations[0] = words[0];
	a.stations[1] = words[1];
	a.stations[2] = words[2];
	r = find(hash_stations(&a));
	if (!r || r->version || !came(r, &a))
		return XDP_PASS;
	return shortcut(ctx, r, a.type);
}
