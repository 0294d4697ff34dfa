package fastpath

import (
	"math/bits"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A clock counts ticks as the programs do: jiffies, the interrupts of the kernel's timer,
// by powers of two, so that one is a good tenth of a second.
type clock struct {
	start time.Time
	ticks uint32 // at start
	tick  time.Duration
}

// perSecond returns how many jiffies there are in a second.
func perSecond() int {
	var one unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &one); err != nil || one.Nano() == 0 {
		return 250 // no kernel is without that clock
	}
	return int(int64(time.Second) / one.Nano())
}

// shift returns the power of two for ticks of an eighth of a second or little more.
func shift() uint32 { return uint32(bits.Len(uint(perSecond() / 8))) }

// newClock asks the kernel for its time, which only programs can read.
func newClock() (c clock, err error) {
	spec, err := loadCache()
	if err != nil {
		return c, err
	}
	constant := spec.Variables[cacheVarShift]
	if err := constant.Set(shift()); err != nil {
		return c, err
	}
	// Nothing but what the program needs.
	spec = &ebpf.CollectionSpec{
		Programs:  map[string]*ebpf.ProgramSpec{cacheProgWeftfpClock: spec.Programs[cacheProgWeftfpClock]},
		Maps:      map[string]*ebpf.MapSpec{constant.SectionName: spec.Maps[constant.SectionName]},
		Variables: map[string]*ebpf.VariableSpec{cacheVarShift: constant},
		Types:     spec.Types,
		ByteOrder: spec.ByteOrder,
	}
	all, err := ebpf.NewCollection(spec)
	if err != nil {
		return c, explain(err)
	}
	defer all.Close()
	const least = 14 // bytes of a frame to run a program with
	c.start, c.tick = time.Now(), time.Second<<shift()/time.Duration(perSecond())
	c.ticks, err = all.Programs[cacheProgWeftfpClock].Run(&ebpf.RunOptions{Data: make([]byte, least)})
	return c, err
}

// now returns the present tick, or the one before it.
func (c *clock) now() uint32 { return c.ticks + uint32(time.Since(c.start)/c.tick) }

// in returns whole ticks of a time, as many as a record can say.
func (c *clock) in(d time.Duration) uint16 { return uint16(min(d/c.tick, 1<<16-1)) }

// since returns how long before now a tick was.
func (c *clock) since(then uint32) time.Duration {
	return max(0, time.Duration(int32(c.now()-then))) * c.tick
}
