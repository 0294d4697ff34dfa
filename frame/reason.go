package frame

// A Reason names why a frame ended its way. Every way to lose a frame has one, a
// counter per port, and a line in the operator's glossary (String and Help).
type Reason uint8

// Taken is no drop: weft itself keeps or answers the frame (DHCP, router
// solicitations, a packet that waits for its neighbor's address).
const Taken Reason = 0xff

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
	DropOverrun               // the flow cache held it behind frames that the switch has yet to carry

	// What guards drop.
	DropSpoofedGateway // claims an address of the network's gateway
	DropRogueDHCP      // a DHCP server's message from a guest
	DropRogueRA        // a router advertisement or redirect from a guest
	DropServiceBusy    // for a service of weft that has too much to do

	// What the router drops.
	DropBadPacket       // malformed IP header
	DropMartian         // source or destination that may not be there
	DropTTLExpired      // TTL or hop limit used up
	DropNoRoute         // no route to the destination
	DropForbidden       // a route that the configuration does not open
	DropNoNeighbor      // the next hop does not answer
	DropNeighborQueue   // too many packets wait for the next hop's address
	DropTooBig          // longer than the MTU of the way out, and not to be fragmented
	DropNATNoSession    // from outside, and nobody inside asked for it
	DropNATFiltered     // from outside, from somebody whom the guest did not address
	DropNATNoPort       // no external port is left
	DropNATFull         // the table of sessions is full
	DropNATQuota        // the port of entry has as many sessions as it may
	DropNATInvalid      // it does not fit its session's state
	DropNATUnsupported  // a protocol that cannot be translated
	DropBadFragment     // overlaps another of its packet, or is malformed
	DropFragmentExpired // its packet's first fragment did not come in time, or too many waited
	NumReasons
)

var reasons = [NumReasons]struct{ name, help string }{
	0:                   {"none", "the frame was not dropped"},
	DropRunt:            {"runt", "shorter than the 14 bytes of an Ethernet header: the sender is broken"},
	DropOversize:        {"oversize", "longer than the MTU of the port it was to leave by: lower the sender's MTU or raise the network's"},
	DropBadOffload:      {"bad-offload", "its virtio-net header contradicts the frame (checksum outside the frame, segment size 0, unknown type): the sender's driver is broken or hostile"},
	DropBadSource:       {"bad-source", "source address is a group address or zero"},
	DropReserved:        {"reserved", "destination is one of 01:80:c2:00:00:00 to :0f, which no bridge relays (STP, PAUSE, LACP, LLDP)"},
	DropSpoofedStatic:   {"spoofed-static", "source address belongs to a static entry of another port"},
	DropHairpin:         {"hairpin", "its destination lives on the port it came from"},
	DropSplitHorizon:    {"split-horizon", "its destination lives on the segment it came from, which carried it already"},
	DropNoMember:        {"no-member", "it was to be flooded, and the network has no other forwarding port"},
	DropIngressBlocked:  {"ingress-blocked", "the port it came from is not forwarding (standby uplink, or being removed)"},
	DropEgressBlocked:   {"egress-blocked", "the port it was to leave by is not forwarding (no guest attached, link down)"},
	DropQueueFull:       {"queue-full", "the device it was to leave by took no more: the guest reads too slowly"},
	DropDeviceError:     {"device-error", "the device it was to leave by failed or vanished"},
	DropTinySegments:    {"tiny-segments", "a TCP superframe would have become more than 512 segments, at everybody's cost: the sender is hostile, or has a peer that asked for tiny segments (MSS)"},
	DropOverrun:         {"overrun", "weft could not keep up with the first frames of its flow: give it more switch.workers, if it lasts"},
	DropSpoofedGateway:  {"spoofed-gateway", "a guest claims the gateway's IP address (ARP, neighbor discovery): look at who sends it"},
	DropRogueDHCP:       {"rogue-dhcp", "a DHCP server's message from a guest; on this network weft alone serves DHCP"},
	DropRogueRA:         {"rogue-ra", "a router advertisement or redirect from a guest; on this network weft alone is the router"},
	DropServiceBusy:     {"service-busy", "it was for DHCP or router discovery, and too many waited already: a guest sends far too many, look at which"},
	DropBadPacket:       {"bad-packet", "its IP header is malformed: the sender is broken or hostile"},
	DropMartian:         {"martian", "its source or destination address may not be there: a guest with a wrong or another's address, or one that must not be routed"},
	DropTTLExpired:      {"ttl-expired", "its TTL or hop limit was used up: normal for traceroute, else a routing loop"},
	DropNoRoute:         {"no-route", "the host has no route to its destination by the network's uplinks: see weft route show; add a route to the host, or an uplink"},
	DropForbidden:       {"forbidden", "its destination is in another network that this one may not reach: see reach in the configuration"},
	DropNoNeighbor:      {"no-neighbor", "the next hop does not answer ARP or neighbor discovery: it is off, or not there"},
	DropNeighborQueue:   {"neighbor-queue", "too many packets waited for the next hop's address"},
	DropTooBig:          {"too-big", "longer than the MTU of the way out, and not to be fragmented; the sender was told (path MTU discovery)"},
	DropNATNoSession:    {"nat-no-session", "from outside, to a port that no guest uses: normal on a network with port scans"},
	DropNATFiltered:     {"nat-filtered", "from outside, from somebody whom the guest did not address: see nat: filtering"},
	DropNATNoPort:       {"nat-no-port", "no external port is left: give nat more addresses or ports"},
	DropNATFull:         {"nat-full", "the table of NAT sessions is full: raise switch: sessions"},
	DropNATQuota:        {"nat-quota", "its port has as many NAT sessions as nat: quota allows: a scan, or raise it"},
	DropNATInvalid:      {"nat-invalid", "it does not fit the state of its NAT session: out of the TCP window, a bad checksum, an ICMP error about nothing"},
	DropNATUnsupported:  {"nat-unsupported", "neither TCP, UDP nor ICMP, which NAT cannot translate"},
	DropBadFragment:     {"bad-fragment", "a fragment that overlaps another of its packet, or is malformed: hostile"},
	DropFragmentExpired: {"fragment-expired", "the first fragment of its packet did not come in time, or too many waited"},
}

// String returns the reason's name as counters and the client show it.
func (r Reason) String() string {
	if r == Taken {
		return "taken"
	}
	return reasons[r].name
}

// Help returns one line for the operator: what happened and what to do.
func (r Reason) Help() string { return reasons[r].help }
