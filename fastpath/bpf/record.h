// What the cache knows: records, and a table to find them by. Both are mapped into the
// process that writes them. The programs write a record's second line and the counts.

// An address of either family, as it stands in the packet; IPv4 is mapped into IPv6
// (RFC 4291 2.5.5.2).
struct address {
	__u64 half[2];
};

// What tells the packets of one conversation, in one direction, from others.
struct flow {
	struct address source, destination;
	__be16 ports[2]; // of an ICMP echo: its identifier and its type
	__u8 version, protocol;
	__u16 zero;
};

enum flag { // record.flags
	ROUTED = 1 << 0,  // a router had the frame
	HOP = 1 << 1,     // and it has one hop less to go
	REWRITE = 1 << 2, // the frame leaves otherwise than it came
	SESSION = 1 << 3, // it is part of a session of the translator's
	SHARED = 1 << 4,  // the host's own sockets win
	INTO = 1 << 5,    // it goes into the stack behind the device, not out
	PEER = 1 << 6,    // the same, of the device's peer
	MARKED = 1 << 7,  // it passes a guard there
	ASIDE = 1 << 8,   // the queue is that of the very device it is leaving by
	OUTSIDE = 1 << 9, // it came to the session from outside
	RENAME = 1 << 10, // it leaves with other addresses, ports or identifier
};

enum state { // of a record: whether what is on its way to the switch would be overtaken
	FRESH,  // nothing came by since the record was made
	QUEUED, // the last frame was put into the switch's queue
	HELD,   // the last frame found no room there
	DIRECT,
};

#define SUBJECTS 6

// A record is a decision of the switch, and what came of it. Its parts are lines of the
// processor's cache, 64 bytes. The next process reads it, see left_linux.go: another layout
// wants another name of the map.
struct record {
	// Which frames it is about, and what all of them need.
	__u64 stamp;              // when the decision was taken, see changes
	__u16 subjects[SUBJECTS]; // what it rests on
	__u32 stations[3];        // the first twelve bytes of the frame
	__u32 place;              // ifindex << 1 | egress; zero: the record is free
	__u16 tag;                // TCI, with the bit in the place of the DEI set; zero: none
	__u8 version;             // of the flow; zero: it is about all frames between the stations
	__u8 least;               // shorter frames are for the switch to pad
	__u32 out, queue;         // ifindexes
	__u16 mtu;
	__u16 idle;               // in ticks
	__u16 flags;
	__u16 in, to;             // the ports
	__u16 header;             // change of the sum of the IPv4 header
	__u16 pseudo, own;        // of the transport's sum: by addresses, by ports

	// What the programs write.
	__u64 ticket;             // of the last frame in the queue, as its port counts them
	__u64 frames, bytes;
	__u64 segments;           // more than frames
	__u32 state;
	__u32 used;               // in ticks
	__u32 next, ack;          // of the last TCP segment, as it came; of stations see xdp.h
	__u16 window;
	__u8 heard;               // there was one
	__u8 yields;              // the host has sent an echo request that it may be the answer to
	__u32 checked;            // when it was last seen to hold: shared.epoch
	__u32 lost;               // frames that were held, or could not be rewritten
	__u32 tried;              // when one was last put there while frames were held, in ticks

	// Of flows.
	struct flow was;
	__u32 is_stations[3];
	__be16 is_ports[2];
	__u32 session, neighbor;  // for the process, as is what follows the addresses

	struct address is_source, is_destination;
	__u64 counted_frames, counted_bytes;
	__u32 counted_segments, counted_lost;
	__u32 made;               // in ticks
	__u16 group;              // of identifications
	__u16 stale;              // so it was found last time
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} records SEC(".maps");

#define SLOTS 8

// A slot holds the upper half of a key's hash and the index of its record. No record has
// index zero.
struct bucket {
	__u64 slots[SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

// How many frames the programs put into the queue of a port, and how many of these have
// left the switch.
struct backlog {
	__u64 arrived, drained;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct backlog);
} backlogs SEC(".maps");

// A socket of the process, and none from the moment when there is no process. Devices lose
// their carrier then too, but only when the kernel has closed them, and a second later.
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} life SEC(".maps");

// So that the process knows them.
const enum flag *flag_type __attribute__((unused));
const enum state *state_type __attribute__((unused));

#define PLACES 4096
#define GROUPS 1024

enum kind { STATIONS = 1, FLOWS = 2 }; // of records, in shared.kinds

// What all programs share, besides the maps.
struct common {
	__u32 epoch;          // another after each change; odd, so that no new record was checked
	__u64 changes[65536]; // the number of the last change of the subjects that hash there
	__u32 ids[GROUPS];    // the last identification of each group
	__u8 kinds[PLACES];   // of the records for places that hash there
};

struct common shared;

volatile const __u64 seed; // of the hashes
volatile const __u32 mask; // of the index of a bucket

// holds tells whether nothing changed that the decision rests on. To find that out takes
// seven lines of the processor's cache; that nothing at all changed since takes one.
static __always_inline int holds(struct record *r)
{
	__u64 stamp = r->stamp;
	__u32 epoch = shared.epoch;

	if (r->checked == epoch)
		return 1;
	// A barrier: what is read next is no older than the epoch is.
	__sync_lock_test_and_set(&r->checked, 0);
	if (shared.changes[0] > stamp ||
	    shared.changes[r->subjects[0]] > stamp || shared.changes[r->subjects[1]] > stamp ||
	    shared.changes[r->subjects[2]] > stamp || shared.changes[r->subjects[3]] > stamp ||
	    shared.changes[r->subjects[4]] > stamp || shared.changes[r->subjects[5]] > stamp)
		return 0;
	r->checked = epoch;
	return 1;
}

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 32;
}

// find returns the one record that may have a key of that hash.
static __always_inline struct record *find(__u64 hash)
{
	__u32 at = (__u32)hash & mask, index = 0;
	struct bucket *b = bpf_map_lookup_elem(&buckets, &at);

	if (!b)
		return 0;
#pragma unroll
	for (int i = 0; i < SLOTS; i++) {
		__u64 slot = b->slots[i];

		if (slot >> 32 == hash >> 32) {
			index = slot;
			break;
		}
	}
	return index ? bpf_map_lookup_elem(&records, &index) : 0;
}
