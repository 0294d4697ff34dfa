package dhcp6

import (
	"net/netip"
	"os"
	"testing"

	"weft/service/lease"
)

// memory returns a folder in memory, if the system has such: fuzzing is not to wait for
// a disk.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "dhcp6")
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

// Whatever a guest sends: the server does not fail, and answers whoever asked with a
// message that is well-formed, fits into a frame and gives addresses of the range only.
func FuzzHandle(f *testing.F) {
	a, off := addr("2001:db8::1001"), addr(offSubnet)
	for _, q := range []*ask{
		client(1, solicitMsg).na(1).wants(23, 24),
		client(1, solicitMsg).na(1).rapid().ia(pd, 2).ia(ta, 3, a),
		client(1, requestMsg).ours().na(1, a).opt(39, append([]byte{0}, "\x03web\x00"...)...),
		client(1, renewMsg).ours().na(1, a, off),
		client(1, rebindMsg).na(1, off),
		client(1, releaseMsg).ours().na(1, a),
		client(1, declineMsg).ours().na(1, a),
		client(1, confirmMsg).na(1, a),
		anonymous(1, informMsg),
	} {
		f.Add(q.bytes(f), false)
		f.Add(q.bytes(f), true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, unicast bool) {
		b, err := lease.Open(memory(t), "net")
		if err != nil {
			t.Fatal(err)
		}
		r := rigOn(t, b, defaults, pool, nil)
		q := Request{Port: "vm1", MAC: mac(1), From: local(1), To: AllServers, Payload: payload}
		if unicast {
			q.To = addr("fe80::1")
		}
		before := string(payload)
		for range 2 { // the second time it is known
			reply, err := r.s.Handle(start, q)
			if string(payload) != before {
				t.Fatal("the request was changed")
			}
			if reply.Frame == nil {
				continue
			}
			if err != nil {
				t.Fatalf("answered, and %v", err)
			}
			n := r.read(q, reply)
			given := map[netip.Addr]bool{}
			for _, ia := range n.ias {
				for a, lifetime := range ia.addresses {
					if lifetime > 0 && (a.Less(pool.Ranges[0].First) || pool.Ranges[0].Last.Less(a) || given[a]) {
						t.Fatalf("gives %s", a)
					}
					given[a] = lifetime > 0
				}
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
