// The headers of a frame, read in place: those of frames whose headers lie in pieces
// are for the switch.

#define TYPE_SLOW 0x8809 // IEEE 802.3 57A.4
#define TAG_PRESENT 0x1000

// TCP's control bits (RFC 9293 3.1).
enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

// What every frame has.
struct arrival {
	__u32 place;
	__u32 stations[3];
	__be16 type;
	__u16 tag;
};

// receive reads the Ethernet header. It fails for frames that no record is about. The
// kernel has taken one tag off the frame (IEEE 802.1Q 9.6).
static __always_inline int receive(struct __sk_buff *skb, struct arrival *a)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 *words = data;

	if (data + ETH_HLEN > end)
		return -1;
	a->stations[0] = words[0];
	a->stations[1] = words[1];
	a->stations[2] = words[2];
	a->type = ((struct ethhdr *)data)->h_proto;
	a->tag = 0;
	if (skb->vlan_present) {
		if (skb->vlan_proto != bpf_htons(ETH_P_8021Q))
			return -1;
		a->tag = skb->vlan_tci | TAG_PRESENT;
	}
	return 0;
}

// plain tells whether a type is one of those that the switch need not see.
static __always_inline int plain(__be16 type)
{
	switch (type) {
	case bpf_htons(ETH_P_IP):
	case bpf_htons(ETH_P_IPV6):
		return 1;
	case bpf_htons(ETH_P_ARP):
	case bpf_htons(TYPE_SLOW):
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return 0;
	}
	return 1;
}

static __always_inline int is_dhcp(const __be16 *ports)
{
	for (int i = 0; i < 2; i++) {
		switch (bpf_ntohs(ports[i])) {
		case 67: // RFC 2131 4.1
		case 68:
		case 546: // RFC 8415 7.2
		case 547:
			return 1;
		}
	}
	return 0;
}

// configures tells DHCP and neighbor discovery (RFC 4861 4), which services and guards look
// into, and what may be one of them behind options or extension headers.
static __always_inline int configures(struct __sk_buff *skb, __be16 type)
{
	__u8 *ip = (void *)(long)skb->data + ETH_HLEN;
	void *end = (void *)(long)skb->data_end;

	switch (type) {
	case bpf_htons(ETH_P_IP):
		if ((void *)ip + sizeof(struct iphdr) + 4 > end)
			return 1;
		return ip[9] == IPPROTO_UDP && (ip[0] != 0x45 || is_dhcp((void *)ip + sizeof(struct iphdr)));
	case bpf_htons(ETH_P_IPV6):
		if ((void *)ip + sizeof(struct ipv6hdr) + 4 > end)
			return 1;
		switch (ip[6]) {
		case IPPROTO_UDP:
			return is_dhcp((void *)ip + sizeof(struct ipv6hdr));
		case IPPROTO_ICMPV6:
			return ip[40] >= 133 && ip[40] <= 137;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_FRAGMENT:
		case IPPROTO_DSTOPTS:
		case IPPROTO_AH:
			return 1;
		}
	}
	return 0;
}

struct packet {
	struct flow flow;
	__u32 end;       // of the packet, in the frame
	__u32 transport; // offset of that header
	__u32 headers;   // length of it and the IP header
	__u16 sum;       // of the IPv4 header: 0xffff
	__u8 hops;
	__u8 control;    // TCP's control bits
	__u16 window;
	__u32 sequence, ack;
};

#define ECHO_LEN 8 // of an ICMP echo, and of UDP's header

// parse_echo reads an ICMP echo, of either version.
static __always_inline int parse_echo(void *at, void *end, struct packet *p, __u8 request, __u8 reply)
{
	__u8 *type = at;

	if (at + ECHO_LEN > end || (type[0] != request && type[0] != reply) || type[1] != 0)
		return -1;
	p->flow.ports[0] = *(__be16 *)(at + 4);
	p->flow.ports[1] = bpf_htons(type[0]);
	p->headers += ECHO_LEN;
	return 0;
}

static __always_inline int parse_udp(void *at, void *end, struct packet *p)
{
	struct udphdr *h = at;

	if (at + sizeof(*h) > end)
		return -1;
	p->flow.ports[0] = h->source;
	p->flow.ports[1] = h->dest;
	p->headers += sizeof(*h);
	return 0;
}

static __always_inline int parse_tcp(void *at, void *end, struct packet *p)
{
	struct tcphdr *h = at;

	if (at + sizeof(*h) > end || h->doff < 5)
		return -1;
	p->flow.ports[0] = h->source;
	p->flow.ports[1] = h->dest;
	p->control = *(__u8 *)(at + 13);
	p->window = bpf_ntohs(h->window);
	p->sequence = bpf_ntohl(h->seq);
	p->ack = bpf_ntohl(h->ack_seq);
	p->headers += h->doff * 4;
	return 0;
}

static __always_inline int parse_transport(void *at, void *end, struct packet *p)
{
	switch (p->flow.protocol) {
	case IPPROTO_TCP:
		return parse_tcp(at, end, p);
	case IPPROTO_UDP:
		return parse_udp(at, end, p);
	case IPPROTO_ICMP:
		return p->flow.version == 4 ? parse_echo(at, end, p, 8, 0) : -1;
	case IPPROTO_ICMPV6:
		return p->flow.version == 6 ? parse_echo(at, end, p, 128, 129) : -1;
	}
	return -1;
}

static __always_inline struct address mapped(__be32 a)
{
	__be32 words[4] = {0, 0, bpf_htonl(0xffff), a};
	struct address to;

	__builtin_memcpy(&to, words, sizeof(to));
	return to;
}

// Folds a sum of less than 2^32 of 16-bit words (RFC 1071).
static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + sum;
}

static __always_inline int parse_ipv4(void *at, void *end, struct packet *p)
{
	struct iphdr *h = at;
	__u16 *words = at;
	__u32 sum = 0;

	if (at + sizeof(*h) > end || *(__u8 *)at != 0x45 || h->frag_off & bpf_htons(0x3fff))
		return -1;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	p->sum = fold(sum);
	p->flow.version = 4;
	p->flow.protocol = h->protocol;
	p->flow.source = mapped(h->saddr);
	p->flow.destination = mapped(h->daddr);
	p->hops = h->ttl;
	p->end = ETH_HLEN + bpf_ntohs(h->tot_len);
	p->headers = sizeof(*h);
	p->transport = ETH_HLEN + sizeof(*h);
	return parse_transport(at + sizeof(*h), end, p);
}

static __always_inline int parse_ipv6(void *at, void *end, struct packet *p)
{
	struct ipv6hdr *h = at;

	if (at + sizeof(*h) > end || h->version != 6)
		return -1;
	p->sum = 0xffff;
	p->flow.version = 6;
	p->flow.protocol = h->nexthdr;
	__builtin_memcpy(&p->flow.source, &h->saddr, sizeof(p->flow.source));
	__builtin_memcpy(&p->flow.destination, &h->daddr, sizeof(p->flow.destination));
	p->hops = h->hop_limit;
	p->end = ETH_HLEN + sizeof(*h) + bpf_ntohs(h->payload_len);
	p->headers = sizeof(*h);
	p->transport = ETH_HLEN + sizeof(*h);
	return parse_transport(at + sizeof(*h), end, p);
}

// parse reads the headers of a whole packet without options or extension headers. It
// fails for others, and for those of protocols whose flows the switch does not tell apart.
// p was zero.
static __always_inline int parse(struct __sk_buff *skb, __be16 type, struct packet *p)
{
	void *at = (void *)(long)skb->data + ETH_HLEN, *end = (void *)(long)skb->data_end;

	switch (type) {
	case bpf_htons(ETH_P_IP):
		return parse_ipv4(at, end, p);
	case bpf_htons(ETH_P_IPV6):
		return parse_ipv6(at, end, p);
	}
	return -1;
}

// sum_at returns where in the transport header its checksum is.
static __always_inline __u32 sum_at(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	}
	return 2; // RFC 792, RFC 4443
}
