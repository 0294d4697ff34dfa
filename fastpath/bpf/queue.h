// The way of a frame to the switch when one of its flow may go directly later: that one
// must not overtake it.

// Marks, compared in all 32 bits. A frame with the first passes the guards of weft; the
// second is on a frame that is put aside for the switch.
#define MARK 0x77656674 // "weft"
#define MARK_ASIDE 0x77656675

// taken ends a frame of which the switch has a copy. It is no loss to a stack that sends it,
// as TC_ACT_SHOT would tell: that frees it too, but so does a redirect to no device.
static __always_inline int taken(const struct record *r)
{
	return r->place & 1 ? bpf_redirect(0, 0) : TC_ACT_SHOT;
}

// is_dead tells whether there is no switch: nobody will read a queue, and nothing is in front
// of a frame.
static __always_inline bool is_dead(void)
{
	__u32 zero = 0;
	struct bpf_sock *s = bpf_map_lookup_elem(&life, &zero);

	if (!s)
		return true;
	bpf_sk_release(s);
	return false;
}

// enqueue puts the frame into the switch's queue and takes a ticket for it. When it
// returns the frame is there, not on its way. If there is no switch it returns TC_ACT_OK,
// and the record is used directly.
static __always_inline int enqueue(struct __sk_buff *skb, struct record *r, __u32 reason)
{
	__u32 in = r->in;
	struct backlog *b = bpf_map_lookup_elem(&backlogs, &in);
	__u64 ticket;
	long lost;

	if (!b)
		return TC_ACT_UNSPEC;
	if (is_dead()) {
		r->state = DIRECT;
		return TC_ACT_OK;
	}
	count(reason);
	skb->mark = r->flags & ASIDE ? MARK_ASIDE : MARK;
	lost = bpf_clone_redirect(skb, r->queue, 0);
	if (lost && r->state == DIRECT) // neither this one nor any before it is there
		return TC_ACT_SHOT;
	// Also of one that was lost: those that came before the record was made have none, and
	// may be what fills the queue.
	ticket = __sync_fetch_and_add(&b->arrived, 1) + 1;
	if (r->ticket < ticket) // another processor may have one of the same flow
		r->ticket = ticket;
	r->state = lost ? HELD : QUEUED; // the queue's device counts what it lost
	return lost ? TC_ACT_SHOT : taken(r);
}

// drained tells whether what the record put into the queue has left the switch.
static __always_inline int drained(const struct record *r)
{
	__u32 in = r->in;
	struct backlog *b = bpf_map_lookup_elem(&backlogs, &in);

	return b && r->state != FRESH && b->drained >= r->ticket;
}

// except leaves a frame to the switch for which its record is not meant. If what is for
// an address of the host's opens a connection, a listener there may take it.
static __always_inline int except(struct __sk_buff *skb, struct record *r, __u32 reason, bool opens)
{
	int verdict;

	// What the host sends waits for nobody: later frames may overtake its exceptions.
	if (r->place & 1 || (r->flags & SHARED && opens))
		return miss(reason);
	verdict = enqueue(skb, r, reason);
	return verdict == TC_ACT_OK ? miss(reason) : verdict;
}
