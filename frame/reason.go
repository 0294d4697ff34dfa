package frame

// A Reason names why a frame was dropped. Every way to lose a frame has one, a
// counter per port, and a line in the operator's glossary (String and Help).
type Reason uint8

// The reasons. Zero means that the frame lives.
const (
	_                  Reason = iota
	DropRunt                  // shorter than an Ethernet header
	DropOversize              // longer than the egress port's MTU allows
	DropBadOffload            // virtio-net header that contradicts the frame
	DropBadSource             // group or all-zero source address
	DropReserved              // destination 01-80-C2-00-00-0x
	DropSpoofedStatic         // source address that belongs to a static entry of another port
	DropHairpin               // destination lives on the port of entry
	DropSplitHorizon          // only ports of the port of entry's own segment would get it
	DropNoMember              // flooded, but no other port to flood to
	DropIngressBlocked        // port of entry is not forwarding
	DropEgressBlocked         // port of exit is not forwarding
	DropQueueFull             // the egress device took no more
	DropDeviceError           // the egress device failed
	DropTinySegments          // TCP superframe that would become more segments than allowed
	NumReasons
)

var reasons = [NumReasons]struct{ name, help string }{
	0:                  {"none", "the frame was not dropped"},
	DropRunt:           {"runt", "shorter than the 14 bytes of an Ethernet header: the sender is broken"},
	DropOversize:       {"oversize", "longer than the MTU of the port it was to leave by: lower the sender's MTU or raise the network's"},
	DropBadOffload:     {"bad-offload", "its virtio-net header contradicts the frame (checksum outside the frame, segment size 0, unknown type): the sender's driver is broken or hostile"},
	DropBadSource:      {"bad-source", "source address is a group address or zero"},
	DropReserved:       {"reserved", "destination is one of 01:80:c2:00:00:00 to :0f, which no bridge relays (STP, PAUSE, LACP, LLDP)"},
	DropSpoofedStatic:  {"spoofed-static", "source address belongs to a static entry of another port"},
	DropHairpin:        {"hairpin", "its destination lives on the port it came from"},
	DropSplitHorizon:   {"split-horizon", "its destination lives on the segment it came from, which carried it already"},
	DropNoMember:       {"no-member", "it was to be flooded, and the network has no other forwarding port"},
	DropIngressBlocked: {"ingress-blocked", "the port it came from is not forwarding (standby uplink, or being removed)"},
	DropEgressBlocked:  {"egress-blocked", "the port it was to leave by is not forwarding (no guest attached, link down)"},
	DropQueueFull:      {"queue-full", "the device it was to leave by took no more: the guest reads too slowly"},
	DropDeviceError:    {"device-error", "the device it was to leave by failed or vanished"},
	DropTinySegments:   {"tiny-segments", "a TCP superframe would have become more than 512 segments, at everybody's cost: the sender is hostile, or has a peer that asked for tiny segments (MSS)"},
}

// String returns the reason's name as counters and the client show it.
func (r Reason) String() string { return reasons[r].name }

// Help returns one line for the operator: what happened and what to do.
func (r Reason) Help() string { return reasons[r].help }
