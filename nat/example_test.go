package nat_test

import (
	"fmt"
	"net/netip"

	"weft/frame"
	"weft/frame/frametest"
	"weft/nat"
)

// A guest speaks to a server, which sees the external address.
func ExampleTable() {
	t := nat.New(nat.Config{})
	t.Configure(0, nat.Settings{
		Realms: map[nat.Realm]nat.Policy{1: {}},
		Pools:  map[nat.Pool]nat.PoolConfig{1: {Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}}},
	})
	guest, server := frametest.Station(1), frametest.Station(2)
	server.Addr = netip.MustParseAddr("198.51.100.80")

	b := frame.NewBufs(1)[0]
	b.SetBytes(frametest.UDP(guest, server, nil))
	b.Parse()
	fmt.Println(t.Outbound(0, b, 1, 1), b)

	server.Port, guest.Addr = 9999, netip.MustParseAddr("203.0.113.7")
	b.SetBytes(frametest.UDP(server, guest, nil))
	b.Parse()
	fmt.Println(t.Inbound(0, b))
	for s := range t.Sessions {
		fmt.Println(s.Inside, s.External, s.Remote, s.State, s.Expires)
	}
	// Output:
	// none 52:54:00:00:00:01 > 52:54:00:00:00:02, 42 bytes, 203.0.113.7:1001 > 198.51.100.80:1002 UDP
	// true nat-filtered
	// 10.0.0.1:1001 203.0.113.7:1001 198.51.100.80:1002 active 5m0s
}
