package datagram_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"pgregory.net/rapid"

	"weft/frame"
	"weft/service/datagram"
)

// decode returns the layers of a frame, all checksums computed anew by gopacket.
func decode(t interface{ Fatalf(string, ...any) }, b []byte) (eth *layers.Ethernet, ip gopacket.NetworkLayer, udp *layers.UDP) {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("%v", e.Error())
	}
	eth = p.LinkLayer().(*layers.Ethernet)
	ip = p.NetworkLayer()
	udp = p.TransportLayer().(*layers.UDP)
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatalf("%v", err)
	}
	out := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true},
		eth, ip.(gopacket.SerializableLayer), udp, gopacket.Payload(udp.Payload))
	if err != nil {
		t.Fatalf("%v", err)
	}
	if got := out.Bytes(); !bytes.Equal(got[:len(b)], b) {
		t.Fatalf("gopacket writes it otherwise:\n got %x\nwant %x", b, got)
	}
	return eth, ip, udp
}

func TestFrameIsWhatGopacketReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		end := rapid.Custom(func(t *rapid.T) datagram.Endpoint {
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
			return datagram.Endpoint{
				MAC:  frame.MAC(rapid.Uint64Range(0, 1<<48-1).Draw(t, "MAC")),
				Addr: netip.AddrPortFrom(a, rapid.Uint16Range(50000, 1<<16-1).Draw(t, "port")),
			}
		})
		from, to := end.Draw(t, "from"), end.Draw(t, "to")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "payload")
		eth, ip, udp := decode(t, datagram.Frame(from, to, payload))
		if frame.MACFrom(eth.SrcMAC) != from.MAC || frame.MACFrom(eth.DstMAC) != to.MAC {
			t.Fatalf("Ethernet: %v", eth)
		}
		src, dst := ip.NetworkFlow().Endpoints()
		if !bytes.Equal(src.Raw(), from.Addr.Addr().AsSlice()) || !bytes.Equal(dst.Raw(), to.Addr.Addr().AsSlice()) {
			t.Fatalf("IP: %v", ip)
		}
		if uint16(udp.SrcPort) != from.Addr.Port() || uint16(udp.DstPort) != to.Addr.Port() || !bytes.Equal(udp.Payload, payload) {
			t.Fatalf("UDP: %v", udp)
		}
	})
}

func ends(a, b string) (from, to datagram.Endpoint) {
	return datagram.Endpoint{MAC: 1, Addr: netip.MustParseAddrPort(a)}, datagram.Endpoint{MAC: 2, Addr: netip.MustParseAddrPort(b)}
}

func TestChecksumZeroIsSentAsAllOnes(t *testing.T) {
	from, to := ends("192.0.2.1:67", "192.0.2.2:68")
	for n := range 1 << 16 { // one of these payloads has the sum
		b := datagram.Frame(from, to, []byte{byte(n >> 8), byte(n)})
		if b[40] == 0 && b[41] == 0 {
			t.Fatalf("payload %#04x: checksum 0 says that there is none", n)
		}
	}
}

func TestFrameRefusesItsCallersBugs(t *testing.T) {
	from, to := ends("192.0.2.1:67", "[2001:db8::1]:68")
	for name, call := range map[string]func(){
		"two families": func() { datagram.Frame(from, to, nil) },
		"too long":     func() { datagram.Frame(from, from, make([]byte, datagram.MaxPayload+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
	if n := len(datagram.Frame(from, from, make([]byte, datagram.MaxPayload))); n != 14+65535 {
		t.Errorf("the longest has %d bytes", n)
	}
}

func BenchmarkFrame(b *testing.B) {
	from, to := ends("[fe80::1]:547", "[fe80::2]:546")
	payload := make([]byte, 300)
	for b.Loop() {
		datagram.Frame(from, to, payload)
	}
}
