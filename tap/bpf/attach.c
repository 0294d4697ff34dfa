//go:build ignore

// The tc programs that bring a netdev's frames to a companion TAP and back. Each is
// loaded once per place, with its constants set before. They return TC_ACT_UNSPEC
// for "pass", which under tcx and clsact alike lets the next program have its say;
// TC_ACT_OK would hide the programs of others.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "claims.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// A frame on its way between a netdev and a companion carries this mark. All 32
// bits are compared, so that a firewall's marks of a few bits are never mistaken.
#define MAGIC 0x77656674 // "weft"

volatile const __u32 target;       // ifindex to redirect to
volatile const __u64 target_flags; // BPF_F_INGRESS: into the stack, not out

// What a device's programs are for at present, as bits in one byte, so that it changes
// in one step for all of them. The states of program_linux.go.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} states SEC(".maps");

// The device is given up. One that was moved to another namespace takes its programs
// along: nobody finds them there to remove them, and the target's index is another
// device's.
#define RETIRED 1
#define BRIDGED 2 // uplinks: the NIC's wire and guests are one segment
#define PROXY 4   // uplinks: weft answers on the wire for addresses that it owns
#define CLAIMS 8  // uplinks: there may be claims

static __always_inline __u32 state(void)
{
	__u32 first = 0;
	__u32 *s = bpf_map_lookup_elem(&states, &first);

	return s ? *s : RETIRED;
}

// The addresses of guests behind the switch, for an uplink. Keys are the six bytes
// as they stand in the frame; there are no values to speak of. When it is full, the
// guest that was silent longest goes to the wire until it speaks again.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u8[6]);
	__type(value, __u8);
} guests SEC(".maps");

// The last program of a frame's way clears the mark: it would otherwise leak to
// the peer of a veth in the same namespace.
static __always_inline int pass_marked(struct __sk_buff *skb)
{
	skb->mark = 0;
	return TC_ACT_UNSPEC;
}

static __always_inline int redirect(struct __sk_buff *skb)
{
	skb->mark = MAGIC;
	return bpf_redirect(target, target_flags);
}

// The switch gets a copy; the frame itself goes on with the mark it had.
static __always_inline int clone(struct __sk_buff *skb)
{
	__u32 mark = skb->mark;

	skb->mark = MAGIC;
	bpf_clone_redirect(skb, target, 0);
	skb->mark = mark;
	return TC_ACT_UNSPEC;
}

// is_guest tells whether the address at offset of the frame is a guest's.
static __always_inline int is_guest(struct __sk_buff *skb, __u32 offset)
{
	__u8 mac[6];

	if (bpf_skb_load_bytes(skb, offset, mac, sizeof(mac)) < 0)
		return 0;
	return bpf_map_lookup_elem(&guests, mac) != 0;
}

#define DESTINATION 0
#define SOURCE 6

// Ingress of a device (target is its companion), and of an uplink's companion towards
// the host (what weft wrote there; target is the NIC, into the stack).
SEC("tc")
int weft_redirect(struct __sk_buff *skb)
{
	if (state() & RETIRED)
		return TC_ACT_UNSPEC;
	return redirect(skb);
}

// Egress of a device and of every companion: stops what the host's own stack would
// send there (duplicate address detection, MLD, router solicitations). What weft
// sends is marked.
SEC("tc")
int weft_guard(struct __sk_buff *skb)
{
	if (state() & RETIRED)
		return TC_ACT_UNSPEC;
	if (skb->mark != MAGIC)
		return TC_ACT_SHOT;
	return pass_marked(skb);
}

// What came for the NIC's address, whatever it is now, is the host's but for what
// weft claims.
static __always_inline int for_host(struct __sk_buff *skb, __u32 now)
{
	if (now & CLAIMS) {
		switch (owner_of(skb)) {
		case WEFT:
			return redirect(skb);
		case BOTH:
			return clone(skb);
		case HOST:
			break;
		}
		if ((now & PROXY) && asks_for_owned(skb))
			return redirect(skb);
	}
	// A guest took on the address of a station outside: the switch learns better.
	if ((now & BRIDGED) && is_guest(skb, SOURCE))
		return clone(skb);
	return TC_ACT_UNSPEC;
}

// Ingress of an uplink's NIC; target is the wire's companion. If it is bridged, what is
// neither the host's nor a guest's goes both ways: to the switch, which floods it as a
// bridge does, and to the host, where a macvlan on the NIC may own it; the stack itself
// drops frames for other stations.
SEC("tc")
int weft_from_wire(struct __sk_buff *skb)
{
	__u32 now = state();

	if (now & RETIRED)
		return TC_ACT_UNSPEC;
	if (skb->mark == MAGIC) // from the host's companion
		return pass_marked(skb);
	if (skb->pkt_type == PACKET_HOST)
		return for_host(skb, now);
	if (now & BRIDGED) {
		if (skb->pkt_type == PACKET_OTHERHOST && is_guest(skb, DESTINATION))
			return redirect(skb);
		return clone(skb);
	}
	if ((now & PROXY) && skb->pkt_type != PACKET_OTHERHOST && may_ask(skb))
		return clone(skb);
	return TC_ACT_UNSPEC;
}

// Egress of an uplink's NIC; target is the host's companion. Only what is for
// guests concerns the switch; the rest is between host and wire.
SEC("tc")
int weft_from_host(struct __sk_buff *skb)
{
	__u32 now = state();
	__u8 first;

	if (now & RETIRED)
		return TC_ACT_UNSPEC;
	if (skb->mark == MAGIC) // from weft's packet socket
		return pass_marked(skb);
	if (!(now & BRIDGED) || bpf_skb_load_bytes(skb, DESTINATION, &first, sizeof(first)) < 0)
		return TC_ACT_UNSPEC;
	if (first & 1) // I/G bit: broadcast and multicast
		return clone(skb);
	if (is_guest(skb, DESTINATION))
		return redirect(skb);
	return TC_ACT_UNSPEC;
}

// Where a neighbor advertisement without extension headers has its checksum and its
// flags, and the flag of a router (RFC 4861 4.4).
#define ND_TYPE (ETH_HLEN + sizeof(struct ipv6hdr))
#define ND_CHECKSUM (ND_TYPE + 2)
#define ND_FLAGS (ND_TYPE + 4)
#define ND_ROUTER 0x8000

// Egress of a gateway. The host's stack advertises itself there as a host, unless it
// forwards, and a guest gives up a default router that does (RFC 4861 7.2.5). To set
// the device to forwarding would cost the host the default routes that it learned itself.
SEC("tc")
int weft_gateway(struct __sk_buff *skb)
{
	__be16 flags, router;
	__u8 next, type;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, sizeof(next)) < 0 || next != IPPROTO_ICMPV6)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, ND_TYPE, &type, sizeof(type)) < 0 || type != ICMPV6_ADVERTISEMENT)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, ND_FLAGS, &flags, sizeof(flags)) < 0)
		return TC_ACT_UNSPEC;
	router = flags | bpf_htons(ND_ROUTER);
	if (router != flags && bpf_l4_csum_replace(skb, ND_CHECKSUM, flags, router, sizeof(flags)) == 0)
		bpf_skb_store_bytes(skb, ND_FLAGS, &router, sizeof(router), 0);
	return TC_ACT_UNSPEC;
}
