package dhcp4

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/service/lease"
)

// memory returns a folder in memory, if the system has such: fuzzing is not to wait for
// a disk.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "dhcp4")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Whatever a guest sends: the server does not fail, answers whoever asked and nobody
// else, with a message that is well-formed and no longer than the guest takes.
func FuzzHandle(f *testing.F) {
	for _, a := range []*ask{
		client(1, discoverMsg),
		client(1, discoverMsg).broadcast().wants(1, 3, 6, 119, 121).opt(layers.DHCPOptClientID, 1, 2, 3).opt(layers.DHCPOptMaxMessageSize, 2, 80),
		client(1, requestMsg).server("192.0.2.1").requested("192.0.2.10"),
		client(1, requestMsg).server("192.0.2.9").requested("192.0.2.10"),
		client(1, requestMsg).requested("192.0.2.11").opt(81, append([]byte{4, 0, 0}, "\x04wire\x00"...)...),
		client(1, requestMsg).ciaddr("192.0.2.11").opt(layers.DHCPOptHostname, []byte("web")...),
		client(1, requestMsg).ciaddr("198.51.100.1"),
		client(1, declineMsg).server("192.0.2.1").requested("192.0.2.10"),
		client(1, releaseMsg).server("192.0.2.1").ciaddr("192.0.2.10"),
		client(1, informMsg).ciaddr("192.0.2.200"),
		client(1, discoverMsg).giaddr("192.0.2.7").opt(82, 1, 1, 1),
		client(1, discoverMsg).opt(52, 3),
	} {
		f.Add(a.bytes(f), false)
		f.Add(a.bytes(f), true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, known bool) {
		b, err := lease.Open(memory(t), "net")
		if err != nil {
			t.Fatal(err)
		}
		v := defaults
		v.Relays = []netip.Addr{addr("192.0.2.7")}
		v.Routes = []Route{{netip.MustParsePrefix("10.0.0.0/8"), addr("192.0.2.5")}}
		s := New(Config{Book: b})
		if err := s.Set(v); err != nil {
			t.Fatal(err)
		}
		if err := b.Set(pool); err != nil {
			t.Fatal(err)
		}
		r := &rig{t, s, b, start}
		if known {
			r.join(1)
		}
		q := Request{Port: "vm1", MAC: mac(1), Payload: payload}
		before := string(payload)
		for range 2 { // the second time it is known
			reply, err := s.Handle(start, q)
			if string(payload) != before {
				t.Fatal("the request was changed")
			}
			if reply.Frame != nil {
				if err != nil {
					t.Fatalf("answered, and %v", err)
				}
				check(r, q, reply)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func check(r *rig, q Request, reply Reply) {
	n := r.read(reply)
	if to := frame.MACFrom(n.eth.DstMAC); to != q.MAC && to != frame.Broadcast {
		r.Fatalf("the answer goes to %s", to)
	}
	if n.p.Xid != binary.BigEndian.Uint32(q.Payload[4:]) {
		r.Fatalf("xid %x", n.p.Xid)
	}
	limit := minDatagram
	var asked layers.DHCPv4
	if err := asked.DecodeFromBytes(q.Payload, gopacket.NilDecodeFeedback); err == nil {
		for _, o := range asked.Options {
			if o.Type == layers.DHCPOptMaxMessageSize && len(o.Data) == 2 {
				limit = max(limit, int(binary.BigEndian.Uint16(o.Data)))
			}
		}
	} else {
		limit = defaultMTU // gopacket does not know of overload, and of missing ends
	}
	if int(n.ip.Length) > limit {
		r.Fatalf("%d bytes for a client that takes %d", n.ip.Length, limit)
	}
	if l := reply.Lease; l.Address.IsValid() && (!defaults.Server.Contains(l.Address) || l.Address == defaults.Server.Addr()) {
		r.Fatalf("gives %s", l.Address)
	}
}
