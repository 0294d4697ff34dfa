package main

import "slices"

// targets are the figures that weft is to reach. Those of "fastpath off" are about
// the way through the daemon, which every flow's first frames take.
var targets = slices.Concat(frameTargets, tcpTargets, gatewayTargets, flowTargets, daemonTargets, innerTargets)

var frameTargets = []target{
	{"64-byte frames to the Linux bridge's", true, 1.15, "%.2f×", against("64-byte frames", "received", weft, bridge)},
	{"64-byte frames to the Linux bridge's with bridge-nf", true, 1.6, "%.2f×", against("64-byte frames", "received", weft, bridgeNF)},
	{"64-byte frames to Open vSwitch's", true, 2, "%.2f×", against("64-byte frames", "received", weft, ovs)},
	{"64-byte frames to the Linux bridge's: fastpath xdp", true, 2, "%.2f×", against("64-byte frames", "received", weftXDP, bridge)},
	{"64-byte frames to Open vSwitch's: fastpath off", true, 1, "%.2f×", against("64-byte frames", "received", weftCore, ovs)},
	{"64-byte frames reordered in a flow", false, 0, "%.0f", worst("64-byte frames", "late", weft, weftCore, weftXDP)},
}

var tcpTargets = []target{
	{"host ports: TCP to Open vSwitch's", true, 6, "%.2f×", against("host ports", "tcp", weft, ovs)},
	{"host ports: TCP to vde_switch's", true, 6, "%.2f×", against("host ports", "tcp", weft, vde)},
	{"host ports: TCP to the Linux bridge's", true, 0.8, "%.2f×", against("host ports", "tcp", weft, bridge)},
	{"host ports: ping average to Open vSwitch's", false, 0.7, "%.2f×", against("host ports", "ping avg", weft, ovs)},
	{"device ports: TCP to the Linux bridge's", true, 1.05, "%.2f×", against("device ports in turns", "tcp", weft, bridge)},
	{"device ports: TCP to the Linux bridge's, guests without offloads", true, 1.15, "%.2f×", against("no offloads", "tcp", weft, bridge)},
	{"device ports: TCP to the Linux bridge's: fastpath off", true, 0.6, "%.2f×", against("device ports", "tcp", weftCore, bridge)},
	{"device ports: ping average to the Linux bridge's", false, 0.8, "%.2f×", against("device ports in turns", "ping avg", weft, bridge)},
	{"device ports: connections to the Linux bridge's", true, 1.1, "%.2f×", against("device ports in turns", "crr", weft, bridge)},
}

var gatewayTargets = []target{
	{"NAT: TCP to nftables masquerade's", true, 1, "%.2f×", against("NAT in turns", "tcp", natWeft, natKernel)},
	{"NAT: TCP to nftables masquerade's: fastpath off", true, 0.5, "%.2f×", against("NAT", "tcp", natCore, natKernel)},
	{"NAT: TCP to slirp4netns's", true, 10, "%.1f×", against("NAT", "tcp", natWeft, natSlirp)},
	{"NAT: ping average to nftables masquerade's", false, 4, "%.2f×", against("NAT in turns", "ping avg", natWeft, natKernel)},
	{"routed: TCP to the kernel's forwarding", true, 1.05, "%.2f×", against("routed in turns", "tcp", routedWeft, routedKernel)},
	{"host's own TCP beside NAT to without weft", true, 0.9, "%.2f×", against("host beside NAT", "tcp", natWeft, natNone)},
}

var flowTargets = []target{
	{"NAT: a flow's first round trip above its second", false, 100, "%.0f µs", of("first packets", "to second", natWeft)},
	{"NAT: a flow's first round trip above a later one", false, 100, "%.0f µs", of("first packets", "to later", natWeft)},
	{"routed: a flow's first round trip above its second", false, 100, "%.0f µs", of("first packets", "to second", routedWeft)},
	{"routed: a flow's first round trip above a later one", false, 100, "%.0f µs", of("first packets", "to later", routedWeft)},
	{"64-byte frames lost to 100,000 flows in place of one", false, 10, "%.1f %%", cost("flows", "received", manyFlows, oneFlow)},
	{"CPU time of 64-byte frames with 1,000 forwards and 1,000 routes to without", false, 1.03, "%.2f×", against("flows", "cpu", manyRules, oneFlow)},
}

var daemonTargets = []target{
	{"TCP lost to 64 more idle ports: fastpath off", false, 2, "%.1f %%", cost("idle ports", "tcp", crowds, weftCore)},
	{"idle daemon, ten ports: resident", false, 40, "%.1f MB", of("idle daemon", "resident", weft)},
	{"idle daemon, ten ports: CPU", false, 0.5, "%.2f %%", of("idle daemon", "cpu", weft)},
	{"kill -9: guest ↔ guest echoes lost", false, 0, "%.0f", worst("kill -9", "guests", weft)},
	{"kill -9: segments of a TCP stream lost", false, 0, "%.0f", worst("kill -9", "tcp", weft)},
	{"kill -9: host ↔ wire echoes lost", false, 0, "%.0f", worst("kill -9", "carried", weft, weftCore)},
	{"kill -9: silence after the next start: fastpath off", false, 1000, "%.0f ms", worst("kill -9", "silence", weftCore)},
	{"kill -9: paths that stay silent", false, 0, "%.0f", worst("kill -9", "lost paths", weft, weftCore)},
}

var innerTargets = []target{
	{"NAT table: 1,000,000 sessions", false, 150, "%.0f MB", of("in process", "nat memory", weft)},
	{"NAT table: new sessions", true, 0.3, "%.2f M/s", of("in process", "nat sessions", weft)},
	{"NAT table: a batch of expiry, p99", false, 200, "%.0f µs", of("in process", "nat expiry", weft)},
	{"NAT table: translation of a known session: allocations", false, 0, "%.0f", worst("in process", "nat allocs", weft)},
	{"relay of known unicast", false, 60, "%.1f ns/frame", of("in process", "relay", weft)},
	{"relay of known unicast, 16 stations at 4 ports", false, 60, "%.1f ns/frame", of("in process", "relay, 16 stations", weft)},
	{"relay of known unicast: allocations", false, 0, "%.0f", worst("in process", "relay allocs", weft)},
	{"filtering database of 1,000,000 addresses", false, 40, "%.1f MB", of("in process", "fdb memory", weft)},
	{"filtering database: cold look-up", false, 60, "%.1f ns", of("in process", "fdb lookup", weft)},
	{"filtering database: learning", true, 2, "%.2f M/s", of("in process", "fdb learn", weft)},
}
