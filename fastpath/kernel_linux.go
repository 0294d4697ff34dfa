package fastpath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package fastpath -output-stem cache -type address -type flow -type record -type bucket -type backlog -type flag -type state -type reason cache bpf/cache.c -- -mcpu=v3 -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu

// ErrKernel says that the kernel cannot run the programs of the cache.
var ErrKernel = errors.New("the kernel takes no flow cache")

// A kernel is what the cache has there.
type kernel struct {
	ingress, egress *ebpf.Program
	xdp             *ebpf.Program // nil: the kernel takes it not
	misses, taps    *ebpf.Map
	life            *os.File // the socket in the map of that name
	seed            uint64   // of hashes
	memory
}

// A record is a decision and what came of it: bpf/record.h.
type record = cacheRecord

// load makes maps for so many records and loads the programs.
func load(records, buckets int) (*kernel, error) {
	_ = rlimit.RemoveMemlock() // needed before 5.11 only, and there a failure shows below
	spec, err := loadCache()
	if err != nil {
		return nil, err
	}
	spec.Maps[cacheMapRecords].MaxEntries = uint32(records)
	spec.Maps[cacheMapBuckets].MaxEntries = uint32(buckets)
	common := spec.Variables[cacheVarShared]
	spec.Maps[common.SectionName].Flags |= unix.BPF_F_MMAPABLE
	seed := rand.Uint64()
	err = errors.Join(
		spec.Variables[cacheVarSeed].Set(seed),
		spec.Variables[cacheVarMask].Set(uint32(buckets-1)),
		spec.Variables[cacheVarShift].Set(shift()))
	if err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil { // XDP takes Linux 5.18; the rest goes without
		delete(spec.Programs, cacheProgWeftfpXdp)
		c, err = ebpf.NewCollection(spec)
	}
	if err != nil {
		return nil, explain(err)
	}
	defer c.Close()
	m := maps{c.Maps[cacheMapRecords], c.Maps[cacheMapBuckets], c.Maps[cacheMapBacklogs], c.Maps[common.SectionName]}
	shared, err := m.mmap(common.Offset)
	if err != nil {
		return nil, explain(err)
	}
	life, err := live(c.Maps[cacheMapLife])
	if err != nil {
		shared.close()
		return nil, explain(err)
	}
	debug.FreeOSMemory() // the types of the kernel took much of it
	return &kernel{
		c.DetachProgram(cacheProgWeftfpIn), c.DetachProgram(cacheProgWeftfpOut), c.DetachProgram(cacheProgWeftfpXdp),
		c.DetachMap(cacheMapMisses), c.DetachMap(cacheMapTaps), life, seed, shared,
	}, nil
}

// live puts a socket into the map, which the kernel takes out of it when the socket is closed:
// at the end of the process, however that ends.
func live(in *ebpf.Map) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// The kernel closes the descriptors of a process that was killed from the last one to the
	// first, and takes its time for each TAP and packet socket: seconds if there are many.
	const late = 4000
	if last, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, late); err == nil {
		_ = unix.Close(fd)
		fd = last
	} // else so many files are not allowed
	life := os.NewFile(uintptr(fd), "life")
	if err := in.Put(uint32(0), uint64(fd)); err != nil {
		return nil, errors.Join(err, life.Close())
	}
	return life, nil
}

// explain says what is needed. The verifier refuses for lack of a capability too, in words
// about the program.
func explain(err error) error {
	var refusal *ebpf.VerifierError
	if errors.Is(err, os.ErrPermission) && (!errors.As(err, &refusal) || !capable(unix.CAP_PERFMON)) {
		return fmt.Errorf("%w: %w: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed (run as root, or set AmbientCapabilities=)", ErrKernel, os.ErrPermission)
	}
	return fmt.Errorf("%w: %w: Linux 5.15 or later with CONFIG_DEBUG_INFO_BTF is needed", ErrKernel, err)
}

// capable reports whether the process has the capability, or the one that stands for all.
func capable(capability uint) bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var words [2]unix.CapUserData
	err := unix.Capget(&h, &words[0])
	has := uint64(words[1].Effective)<<32 | uint64(words[0].Effective)
	return err == nil && has&(1<<capability|1<<unix.CAP_SYS_ADMIN) != 0
}

// grace waits until no program runs that ran when it was called, and reports whether it
// could: kernels with CPUs free of ticks (nohz_full) refuse.
func grace() bool {
	const global = 1 // MEMBARRIER_CMD_GLOBAL: an RCU grace period
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	return errno == 0
}
