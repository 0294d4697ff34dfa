package fastpath

import (
	"testing"
	"time"

	"weft/test/lab"
)

// Behind the host's own address a guest and the host may ask the same station at the same
// time with the same identifier. Each gets its answers, all but the one that comes when the
// cache learns that there are two who ask.
func TestEchoesOfHostAndGuest(t *testing.T) {
	t.Parallel()
	o := newTown(t)
	o.patient(o.hv)
	for _, f := range lab.Families {
		t.Run(f.Name, func(t *testing.T) {
			const id = 4711
			o.Reaches(o.c, f.Server) // then all neighbors on the way are known
			o.Reaches(o.hv, f.Server)
			first := o.w.Fastpath().Hits
			guest := pingAs(o.Lab, o.c, f.Server, id, 1)
			o.goOn("the guest asks", []flow{guest}, 300*time.Millisecond, 100)
			if hits := o.w.Fastpath().Hits - first; hits < 100 {
				t.Errorf("of 200 questions and answers the cache carried %d", hits)
			}
			for range 3 {
				host := pingAs(o.Lab, o.hv, f.Server, id, 2)
				o.goOn("both ask", []flow{guest, host}, 300*time.Millisecond, 100)
				host.stop()
				if host.missing > 1 || host.sent.Load() != host.back.Load() {
					t.Errorf("%s: %d answers to %d questions, %d did not come: %q", host, host.back.Load(), host.sent.Load(), host.missing, host.disorder)
				}
			}
			guest.stop()
			if guest.missing > 3 || guest.sent.Load() != guest.back.Load() {
				t.Errorf("%s: %d answers to %d questions, %d did not come: %q", guest, guest.back.Load(), guest.sent.Load(), guest.missing, guest.disorder)
			}
		})
	}
}
