// Sockets of the host's, which win over sessions that use its addresses: see
// docs/adr/0013-claims.md.

// is_echo tells whether the packet is an ICMP echo: no record is about another of its kind.
static __always_inline int is_echo(const struct packet *p)
{
	return p->flow.protocol == IPPROTO_ICMP || p->flow.protocol == IPPROTO_ICMPV6;
}

// host_takes tells whether a TCP or UDP socket of the host's takes the packet. Listeners have no use
// but for what opens a connection, which no record is about.
static __always_inline int host_takes(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple t = {};
	__u32 size = sizeof(t.ipv4);
	struct bpf_sock *s;
	__u32 state;

	if (p->flow.version == 4) {
		t.ipv4.saddr = p->flow.source.half[1] >> 32;
		t.ipv4.daddr = p->flow.destination.half[1] >> 32;
		t.ipv4.sport = p->flow.ports[0];
		t.ipv4.dport = p->flow.ports[1];
	} else {
		size = sizeof(t.ipv6);
		__builtin_memcpy(t.ipv6.saddr, &p->flow.source, sizeof(t.ipv6.saddr));
		__builtin_memcpy(t.ipv6.daddr, &p->flow.destination, sizeof(t.ipv6.daddr));
		t.ipv6.sport = p->flow.ports[0];
		t.ipv6.dport = p->flow.ports[1];
	}
	if (p->flow.protocol == IPPROTO_UDP) {
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
	return state != BPF_TCP_LISTEN;
}
