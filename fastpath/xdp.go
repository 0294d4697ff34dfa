package fastpath

import "github.com/cilium/ebpf"

// XDP returns the program for TAPs, which sees frames before that for the ingress does and
// redirects small ones to ports that are set so; nil if the kernel takes none.
func (c *Cache) XDP() *ebpf.Program { return c.xdp }

// setTAP says whether XDP may redirect frames to a port's device. One that is gone meanwhile
// needs no entry. The calling thread must be in the device's namespace.
func (c *Cache) setTAP(p Port, may bool) {
	index := uint32(p.Index)
	if may {
		_ = c.taps.Put(index, index)
	} else {
		_ = c.taps.Delete(index)
	}
}

// SuitsXDP reports whether XDP pays for a port, by what was carried for it since the last time
// it was asked. For the sake of the program the kernel copies every superframe once more,
// which costs more than small frames between win. had says whether the port has it now.
func SuitsXDP(since Counters, had bool) bool {
	const small = 256 // bytes of a frame, as bpf/xdp.h has it
	switch bytes := since.RxBytes; {
	case bytes > 2*small*since.RxFrames:
		return false
	case since.RxFrames > 0 && bytes <= small*since.RxFrames:
		return true
	}
	return had
}
