package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// A Kernel is what a daemon has loaded into the kernel, by the kernel's IDs.
type Kernel struct {
	Programs map[ebpf.ProgramID]string // names
	Maps     map[ebpf.MapID]bool
}

// Kernel lists the daemon's programs and maps: those that it has open, those that are
// attached to devices of its namespace by tcx, and their maps.
func (w *Weftd) Kernel() Kernel {
	w.lab.Helper()
	k := Kernel{Programs: map[ebpf.ProgramID]string{}, Maps: map[ebpf.MapID]bool{}}
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", w.PID()))
	if err != nil {
		w.lab.Fatalf("%v", err)
	}
	for _, name := range names {
		k.open(name)
	}
	indexes := w.ns.Run("ls -1 /sys/class/net | while read -r d; do cat /sys/class/net/$d/ifindex; done")
	_ = w.ns.Do(func() error {
		for _, text := range strings.Fields(indexes) {
			var index int
			_, _ = fmt.Sscan(text, &index)
			k.attached(index)
		}
		return nil
	})
	for id := range k.Programs {
		k.describe(id)
	}
	return k
}

// open adds what a descriptor stands for.
func (k Kernel) open(fdinfo string) {
	f, err := os.Open(fdinfo)
	if err != nil {
		return // closed meanwhile
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var id uint32
		if _, err := fmt.Sscanf(lines.Text(), "prog_id: %d", &id); err == nil {
			k.Programs[ebpf.ProgramID(id)] = ""
		}
		if _, err := fmt.Sscanf(lines.Text(), "map_id: %d", &id); err == nil {
			k.Maps[ebpf.MapID(id)] = true
		}
	}
}

// attached adds what is attached to a device of this thread's namespace.
func (k Kernel) attached(index int) {
	for _, hook := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: hook})
		if err != nil {
			continue // before Linux 6.6; the daemon has those programs open
		}
		for _, p := range found.Programs {
			k.Programs[p.ID] = ""
		}
	}
}

// describe adds a program's name and maps.
func (k Kernel) describe(id ebpf.ProgramID) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return
	}
	k.Programs[id] = info.Name
	maps, _ := info.MapIDs()
	for _, m := range maps {
		k.Maps[m] = true
	}
}

// Left lists what of it still is in the kernel.
func (k Kernel) Left() (left []string) {
	for id, name := range k.Programs {
		if p, err := ebpf.NewProgramFromID(id); err == nil {
			_ = p.Close()
			left = append(left, fmt.Sprintf("program %d %s", id, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			left = append(left, fmt.Sprintf("program %d: %v", id, err))
		}
	}
	for id := range k.Maps {
		if m, err := ebpf.NewMapFromID(id); err == nil {
			left = append(left, fmt.Sprintf("map %d %v", id, m))
			_ = m.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			left = append(left, fmt.Sprintf("map %d: %v", id, err))
		}
	}
	return left
}
