// Why frames went on to the switch, counted for each processor.
enum reason {
	NONE,
	UNKNOWN,  // no record is about it
	STALE,    // something changed that the decision rests on
	IDLE,     // the last frame is too long ago
	OPENING,  // in the queue, behind what was on its way there
	OVERRUN,  // dropped: the queue had no room for the frame before
	KIND,     // ARP, a slow protocol, another tag
	LENGTH,   // too long or too short, or of another length than it says
	SEGMENTS, // a superframe of tiny or unknown segments
	CONTROL,  // opens or ends a connection
	HOPS,     // the last hop
	CHECKSUM, // wrong, or to be completed in an unlikely place
	SOCKET,   // of the host's
	REWRITING,// could not be rewritten
	REASONS,
};

const enum reason *reason_type __attribute__((unused)); // so that the process knows them

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} misses SEC(".maps");

static __always_inline void count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&misses, &reason);

	if (n)
		*n += 1;
}

// miss leaves the frame to the program that is next.
static __always_inline int miss(__u32 reason)
{
	count(reason);
	return TC_ACT_UNSPEC;
}
