package fastpath

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// maps are those that have a memory.
type maps struct{ records, buckets, backlogs, common *ebpf.Map }

// A memory is that of the maps of bpf/record.h. It is there as long as the memory is
// referred to, whatever is closed.
type memory struct {
	records  []record
	buckets  []cacheBucket
	backlogs []cacheBacklog
	common   *cacheCommon
	windows  *windows
	cleanup  runtime.Cleanup // of the windows
}

// windows are those through which a memory is seen.
type windows struct{ records, buckets, backlogs, common *window }

// mmap opens a window for each map; common lies at an offset in its map.
func (m *maps) mmap(common uint32) (memory, error) {
	to := memory{windows: &windows{}}
	w := to.windows
	for _, o := range []struct {
		to **window
		of *ebpf.Map
	}{{&w.records, m.records}, {&w.buckets, m.buckets}, {&w.backlogs, m.backlogs}, {&w.common, m.common}} {
		var err error
		if *o.to, err = openWindow(o.of); err != nil {
			w.close()
			return memory{}, err
		}
	}
	if err := w.common.reach(0); err != nil {
		w.close()
		return memory{}, err
	}
	to.records = unsafe.Slice((*record)(w.records.start()), m.records.MaxEntries())
	to.buckets = unsafe.Slice((*cacheBucket)(w.buckets.start()), m.buckets.MaxEntries())
	to.backlogs = unsafe.Slice((*cacheBacklog)(w.backlogs.start()), m.backlogs.MaxEntries())
	to.common = (*cacheCommon)(unsafe.Add(w.common.start(), common))
	to.cleanup = runtime.AddCleanup(w, func(w windows) { w.close() }, *w)
	return to, nil
}

// close ends the memory at once. Nobody may refer to it any more.
func (m *memory) close() {
	m.cleanup.Stop()
	m.windows.close()
}

func (w *windows) close() {
	for _, one := range []*window{w.records, w.buckets, w.backlogs, w.common} {
		one.close()
	}
}

// A window shows an array of the kernel's. Elements must be reached before they are
// written to. Others read as zero, and so they are unless another process wrote them:
// what is mapped counts as memory of the process, all at once.
type window struct {
	of     *ebpf.Map
	memory []byte
	pieces []bool // those that are mapped
}

// piece is how much is mapped at a time, in bytes: a multiple of all pages there are but the
// largest, and of the elements of arrays that have more than one.
const piece = 1 << 14

func pieceSize() int { return max(piece, os.Getpagesize()) }

func openWindow(m *ebpf.Map) (*window, error) {
	size := pieceSize()
	pieces := (int(m.MaxEntries())*int(m.ValueSize()) + size - 1) / size
	own, err := m.Clone() // for as long as the window is open
	if err != nil {
		return nil, fmt.Errorf("map the memory of %v: %w", m, err)
	}
	nothing, err := unix.Mmap(-1, 0, pieces*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the memory of %v: %w", m, err), own.Close())
	}
	return &window{own, nothing, make([]bool, pieces)}, nil
}

func (w *window) start() unsafe.Pointer { return unsafe.Pointer(&w.memory[0]) }

// reach maps the i-th element. It is not to be called at once with itself.
func (w *window) reach(i int) error {
	size, element := pieceSize(), int(w.of.ValueSize())
	for p := i * element / size; p <= ((i+1)*element-1)/size; p++ {
		if w.pieces[p] {
			continue
		}
		from, page := p*size, os.Getpagesize()
		end := min(from+size, (int(w.of.MaxEntries())*element+page-1)/page*page)
		_, err := unix.MmapPtr(w.of.FD(), int64(from), unsafe.Pointer(&w.memory[from]), uintptr(end-from),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
		if err != nil {
			return fmt.Errorf("map the memory of %v: %w", w.of, err)
		}
		w.pieces[p] = true
	}
	return nil
}

// reachAll maps all elements.
func (w *window) reachAll() error {
	for i := range int(w.of.MaxEntries()) {
		if err := w.reach(i); err != nil {
			return err
		}
	}
	return nil
}

// close gives up the window, if it was opened.
func (w *window) close() {
	if w == nil {
		return
	}
	_ = unix.Munmap(w.memory) // fails for what is no mapping only
	_ = w.of.Close()          // of a descriptor: what it refers to stays as long as programs use it
}
