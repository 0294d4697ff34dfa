package guest

import (
	"net/netip"
	"testing"
	"time"
)

// started starts a server that ends with the tests.
func started(t *testing.T, addr netip.AddrPort, serve func(netip.AddrPort, func()) error) {
	t.Helper()
	ready, failed := make(chan struct{}), make(chan error, 1)
	go func() { failed <- serve(addr, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-failed:
		t.Fatal(err)
	}
}

func TestConnectIsServed(t *testing.T) {
	addr := netip.MustParseAddrPort("127.83.0.1:7002")
	started(t, addr, Serve)
	done, err := Connect(addr, 50*time.Millisecond)
	if err != nil || done.Count == 0 || done.Elapsed < 50*time.Millisecond {
		t.Errorf("Connect = %+v, %v; want transactions for 50 ms", done, err)
	}
	if done, err := Connect(netip.MustParseAddrPort("127.83.0.1:7009"), time.Second); err == nil {
		t.Errorf("without a server: %+v", done)
	}
}

func TestExploreIsReflected(t *testing.T) {
	addr := netip.MustParseAddrPort("127.83.0.1:7003")
	started(t, addr, Reflect)
	got, err := Explore(addr)
	if err != nil || got.Frames != 2*newFlows*laterTrip || got.First <= 0 || got.Second <= 0 || got.Later <= 0 {
		t.Errorf("Explore = %+v, %v", got, err)
	}
}
