package api

import (
	"net/netip"

	"weft/frame"
)

// A Flow is what frames of one conversation have in common, in one direction.
type Flow struct {
	Src      frame.MAC      `json:"src,omitempty"`
	Dst      frame.MAC      `json:"dst,omitempty"`
	VLAN     uint16         `json:"vlan,omitempty"`     // VID of the tag; 0: none
	Protocol string         `json:"protocol,omitempty"` // tcp, udp, icmp; to explain also arp; empty: told by the stations alone
	From     netip.AddrPort `json:"from,omitzero"`      // of icmp, ports are the query's identifier; of arp, they are 0
	To       netip.AddrPort `json:"to,omitzero"`
}

// FastpathQuery says what of the flow cache is wanted. Zero fields stand for all.
type FastpathQuery struct {
	Port    string // entries whose frames come in or leave by it; refusals of frames that came in by it
	Limit   int    // at most so many entries or refusals
	Refused bool   // refusals in place of entries
}

// Fastpath answers GET /v1/fastpath[?port=NAME&limit=N&refused=1]. DELETE /v1/fastpath
// forgets all entries and answers Flushed.
type Fastpath struct {
	Enabled  bool              `json:"enabled"`
	Detail   string            `json:"detail,omitempty"`  // why it is not, or not everywhere, and what to do
	Flows    int               `json:"flows"`             // entries now
	Capacity int               `json:"capacity"`          // entries at most
	Hits     uint64            `json:"hits"`              // frames that the kernel carried
	Misses   map[string]uint64 `json:"misses,omitempty"`  // frames left to the switch, by reason, non-zero ones
	Evicted  uint64            `json:"evicted"`           // entries that had to make room for others
	Refused  map[string]uint64 `json:"refused,omitempty"` // frames whose fate was not to be remembered, by frame.Refusal, non-zero ones

	Entries  []FastpathEntry   `json:"entries"`
	Refusals []FastpathRefusal `json:"refusals"` // the last ones, newest first
}

// FastpathEntry is a decision that the kernel repeats for frames of one direction.
type FastpathEntry struct {
	In   string `json:"in"`   // port
	Out  string `json:"out"`  // port
	Kind string `json:"kind"` // station: for all frames from one station to another; flow: for those of the flow
	Flow
	NewFrom netip.AddrPort `json:"new_from,omitzero"` // as it leaves, if that is another
	NewTo   netip.AddrPort `json:"new_to,omitzero"`   // likewise
	State   string         `json:"state"`             // fresh: no frame yet; queued: behind those that the switch has still; held: the switch has too many; direct; stale, idle: not used any more
	Age     float64        `json:"age_seconds"`
	Idle    float64        `json:"idle_seconds"` // since the last frame
	Frames  uint64         `json:"frames"`
	Bytes   uint64         `json:"bytes"`
}

// FastpathRefusal is a frame whose fate was not to be remembered.
type FastpathRefusal struct {
	Port string `json:"port"` // of entry
	Flow
	Reason string  `json:"reason"` // of frame.Refusal
	Ago    float64 `json:"ago_seconds"`
}

// Explain is POST /v1/explain: a frame that port Port would receive, whose way is asked
// for. What its Flow leaves out is filled in as its sender would, as far as weft knows.
type Explain struct {
	Port string `json:"port"`
	Flow
}

// Explained answers Explain: the stages of the way, in order. Nothing is changed.
type Explained struct {
	Steps []Step `json:"steps"`
}

// Step is what one stage does with a frame.
type Step struct {
	Stage string `json:"stage"` // frame, port, kernel, guard, service, source, look-up, router, nat, exit, flow-cache
	Says  string `json:"says"`
}
