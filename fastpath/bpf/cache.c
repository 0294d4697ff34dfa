//go:build ignore

// The programs of the flow cache. They stand in front of weft's own on a device: what they
// know they forward, and everything else they leave to those by TC_ACT_UNSPEC, which under
// tcx and clsact alike lets the next program have its say. The same programs serve all
// devices. docs/adr/0016-flow-cache.md says why what they do is what the switch would do.

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "record.h"
#include "reason.h"
#include "queue.h"
#include "packet.h"
#include "buffer.h"
#include "length.h"
#include "socket.h"
#include "rewrite.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

volatile const __u32 shift; // of jiffies to ticks

static __always_inline __u32 ticks(void)
{
	return bpf_jiffies64() >> shift;
}

static __always_inline __u64 hash_stations(const struct arrival *a)
{
	__u64 hash = mix(seed ^ a->place, a->stations[0] | (__u64)a->stations[1] << 32);

	return mix(hash, a->stations[2] | (__u64)a->tag << 32);
}

static __always_inline __u64 hash_flow(const struct arrival *a, const struct flow *f)
{
	const __u64 *words = (void *)f;
	__u64 hash = ~seed ^ a->place;

#pragma unroll
	for (int i = 0; i < sizeof(*f) / sizeof(*words); i++)
		hash = mix(hash, words[i]);
	return hash;
}

// came tells whether the record is about frames with that Ethernet header.
static __always_inline int came(const struct record *r, const struct arrival *a)
{
	return r->place == a->place && r->tag == a->tag && r->stations[0] == a->stations[0] &&
	       r->stations[1] == a->stations[1] && r->stations[2] == a->stations[2];
}

static __always_inline int same(const struct flow *a, const struct flow *b)
{
	const __u64 *x = (void *)a, *y = (void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

// usable tells why the record may not be used any more.
static __always_inline enum reason usable(struct record *r, __u32 now)
{
	if (!holds(r))
		return STALE;
	return (__s32)(now - r->used) > r->idle ? IDLE : NONE;
}

// pass tells whether the frame may go directly, and what becomes of it if not: the
// verdict, TC_ACT_OK for yes.
static __always_inline int pass(struct __sk_buff *skb, struct record *r, __u32 now)
{
	if (r->state == DIRECT)
		return TC_ACT_OK;
	if (drained(r)) {
		r->state = DIRECT;
		return TC_ACT_OK;
	}
	if (r->state == HELD && r->tried == now && !is_dead()) {
		count(OVERRUN);
		__sync_fetch_and_add(&r->lost, 1);
		return TC_ACT_SHOT;
	}
	r->tried = now; // to wake the switch, which held frames do not
	return enqueue(skb, r, OPENING);
}

// tally counts a frame that goes directly.
static __always_inline void tally(struct record *r, __u32 now, __u32 length, __u32 segments)
{
	__sync_fetch_and_add(&r->frames, 1);
	__sync_fetch_and_add(&r->bytes, length + (r->tag ? 4 : 0));
	if (segments > 1)
		__sync_fetch_and_add(&r->segments, segments - 1);
	if (r->used != now)
		r->used = now;
}

// send hands the frame to the device it is for.
static __always_inline int send(struct __sk_buff *skb, const struct record *r)
{
	__u16 flags = r->flags;

	skb->mark = flags & MARKED ? MARK : 0;
	if (flags & PEER) {
		// Linux before 6.15 leaves it at another host's, since the frame came by another
		// device than it is for, and the peer's stack would drop it.
		bpf_skb_change_type(skb, PACKET_HOST);
		return bpf_redirect_peer(r->out, 0);
	}
	return bpf_redirect(r->out, flags & INTO ? BPF_F_INGRESS : 0);
}

// by_stations forwards a frame that the record of its two stations is about.
static __always_inline int by_stations(struct __sk_buff *skb, struct record *r, __be16 type)
{
	__u32 now = ticks(), segments;
	enum reason why = usable(r, now);
	int verdict;

	if (why)
		return miss(why);
	if (!plain(type) || configures(skb, type))
		return except(skb, r, KIND, false);
	why = measure(skb, r, type, &segments);
	if (why)
		return except(skb, r, why, false);
	verdict = pass(skb, r, now);
	if (verdict)
		return verdict;
	tally(r, now, skb->len, segments);
	return send(skb, r);
}

// judge tells why the switch must see a packet although its flow is known.
static __always_inline enum reason judge(struct __sk_buff *skb, const struct record *r, const struct packet *p, bool *partial)
{
	if (p->sum != 0xffff)
		return CHECKSUM;
	if (r->flags & ROUTED && p->control & (TCP_SYN | TCP_FIN | TCP_RST))
		return CONTROL;
	if (r->flags & HOP && p->hops <= 1)
		return HOPS;
	return summed(skb, p, partial);
}

// hear notes what a segment of a session says, which the translator asks for when
// the connection ends.
static __always_inline void hear(struct record *r, const struct packet *p)
{
	r->next = p->sequence + (p->end - ETH_HLEN - p->headers);
	r->ack = p->ack;
	r->window = p->window;
	r->heard = 1;
}

// by_flow forwards a packet that the record of its flow is about.
static __noinline int by_flow(struct __sk_buff *skb, struct record *r, const struct packet *p)
{
	__u32 now = ticks(), segments;
	enum reason why = usable(r, now);
	bool partial;
	int verdict;

	if (why)
		return miss(why);
	if (r->flags & SHARED && (is_echo(p) ? r->yields : host_takes(skb, p)))
		return miss(SOCKET);
	why = judge(skb, r, p, &partial);
	if (!why)
		why = measure_packet(skb, r, p, &segments);
	if (why)
		return except(skb, r, why, (p->control & (TCP_SYN | TCP_ACK)) == TCP_SYN);
	verdict = pass(skb, r, now);
	if (verdict)
		return verdict;
	if (r->flags & REWRITE && rewrite(skb, r, p, partial, segments) < 0) {
		count(REWRITING);
		__sync_fetch_and_add(&r->lost, 1);
		return TC_ACT_SHOT;
	}
	if (r->flags & SESSION && p->flow.protocol == IPPROTO_TCP)
		hear(r, p);
	tally(r, now, skb->len, segments);
	return send(skb, r);
}

static __always_inline int forward(struct __sk_buff *skb, __u32 place)
{
	__u8 kinds = shared.kinds[place % PLACES];
	struct arrival a = {.place = place};
	struct record *r;

	if (!kinds) // most frames of a host's NIC: not worth counting
		return TC_ACT_UNSPEC;
	if (receive(skb, &a) < 0)
		return miss(UNKNOWN);
	if (kinds & STATIONS) {
		r = find(hash_stations(&a));
		if (r && !r->version && came(r, &a))
			return by_stations(skb, r, a.type);
	}
	if (kinds & FLOWS) {
		struct packet p = {};

		if (parse(skb, a.type, &p) < 0)
			return miss(UNKNOWN);
		r = find(hash_flow(&a, &p.flow));
		if (r && came(r, &a) && same(&r->was, &p.flow))
			return by_flow(skb, r, &p);
	}
	return miss(UNKNOWN);
}

#include "xdp.h"

// Nothing is attached to: it tells the process the time.
SEC("tc")
int weftfp_clock(struct __sk_buff *skb)
{
	return ticks();
}

// give_way sees to it that the host gets the answer to an echo request of its own which
// leaves by a NIC, if a session uses the same identifier towards the same station: as no socket
// tells, the record that would take the answer yields.
static __noinline int give_way(struct __sk_buff *skb)
{
	struct arrival a = {};
	struct packet p = {};
	struct flow answer = {};
	struct record *r;

	if (receive(skb, &a) < 0 || parse(skb, a.type, &p) < 0 || !is_echo(&p))
		return 0;
	a.place = skb->ifindex << 1;
	answer.source = p.flow.destination;
	answer.destination = p.flow.source;
	answer.version = p.flow.version;
	answer.protocol = p.flow.protocol;
	answer.ports[0] = p.flow.ports[0];
	answer.ports[1] = bpf_htons(p.flow.version == 4 ? 0 : 129);
	r = find(hash_flow(&a, &answer));
	if (r && r->place == a.place && same(&r->was, &answer))
		r->yields = 1;
	return 0;
}

// Ingress of a device, and of an uplink's NIC.
SEC("tc")
int weftfp_in(struct __sk_buff *skb)
{
	if (skb->mark == MARK) // for weft's own program
		return TC_ACT_UNSPEC;
	return forward(skb, skb->ifindex << 1);
}

// Egress of an uplink's NIC, and of a TAP whose other end is weft itself.
SEC("tc")
int weftfp_out(struct __sk_buff *skb)
{
	if (skb->mark == MARK)
		return TC_ACT_UNSPEC;
	if (skb->mark == MARK_ASIDE) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	if (shared.kinds[(skb->ifindex << 1) % PLACES] & FLOWS)
		give_way(skb);
	return forward(skb, skb->ifindex << 1 | 1);
}
